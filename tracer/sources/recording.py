"""Writes recordings in our interchange format, which tracer/sources/jsonl.py reads."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from tracer import json_lines
from tracer.trajectory import Element, Step, Trajectory

RECORDED = "recorded"
"""The source of what people record on their own pages."""


class Recording:
    """``<folder>/episodes.jsonl`` and ``episodes.tar``, written one episode at a time, whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._lines = folder / "episodes.jsonl"
        self._pictures = self._lines.with_suffix(".tar")
        self._written: set[str] = set()

    def __enter__(self) -> Recording:
        self._lines.parent.mkdir(parents=True, exist_ok=True)
        self._parts = [path.with_name(f".{path.name}.part") for path in (self._pictures, self._lines)]
        self._open = ExitStack()
        self._tar = self._open.enter_context(tarfile.open(self._parts[0], "w", format=tarfile.USTAR_FORMAT))
        self._file: IO[bytes] = self._open.enter_context(open(self._parts[1], "wb"))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._open.close()
        if kind is None:
            for part, path in zip(self._parts, (self._pictures, self._lines), strict=True):
                os.replace(part, path)

    def add(self, trajectory: Trajectory) -> None:
        """Append an episode. Pictures are named by their digest, so that one that is shown twice is there once."""
        pictures = [step.image for step in trajectory.steps]
        names = [None if image is None else hashlib.sha256(image).hexdigest()[:24] for image in pictures]
        for name, image in zip(names, pictures, strict=True):
            if name is not None and image is not None and name not in self._written:
                self._written.add(name)
                add_member(self._tar, name, image)
        fields = {name: getattr(trajectory, name) for name in ("id", "source", "task", "split", "goal", "outcome")}
        steps = [step_record(step, name) for step, name in zip(trajectory.steps, names, strict=True)]
        self._file.write(json_lines.one({**fields, "steps": steps}))


def step_record(step: Step, image: str | None) -> dict[str, Any]:
    """A step as a line holds it, with the name of its picture."""
    return {
        "image": image,
        "width": step.width,
        "height": step.height,
        "elements": None if step.elements is None else [_element(element) for element in step.elements],
        "action": step.action.to_dict(),
        "target": None if step.target is None else list(step.target),
        "instruction": step.instruction,
        **({"observation": step.observation} if step.observation else {}),
    }


def _element(element: Element) -> dict[str, Any]:
    # Most elements have no value and no state: left out, they save a fifth of the file.
    return {name: part for name, part in element.to_dict().items() if part != "" or name in ("role", "text")}


def add_member(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file to an archive that is to depend on the files alone: without times or owners."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(content))

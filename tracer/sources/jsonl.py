"""Our interchange format, for recordings of one's own; ``tracer record`` writes it too.

    <folder>/<split>/<name>.jsonl      one episode per line (``Episode``)
    <folder>/<split>/<name>.tar        its pictures, uncompressed; or a folder ``images/`` beside the jsonl

A picture is named by its member name in the archive, or its path inside ``images/``. Coordinates and boxes are
fractions of the screen. ``Episode.model_json_schema()`` is the format's JSON schema.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracer.action import Action, ActionError
from tracer.sources import large_json
from tracer.sources.actions import broken
from tracer.sources.boundary import MAX_STEPS, Origin, too_many_steps
from tracer.sources.source import (
    MAX_IMAGE_BYTES,
    Refused,
    Rejected,
    SourceError,
    checked_name,
    once,
    picture_size,
    read_inside,
)
from tracer.trajectory import SPLITS, Box, Element, Step, Trajectory

BLOCK = 512

Fraction = Annotated[float, Field(ge=0, le=1)]
Corners = tuple[Fraction, Fraction, Fraction, Fraction]
"""Left, top, right, bottom."""
Sized = Callable[[str], tuple[bytes, tuple[int, int]]]
"""The picture of a name, with its width and height."""


class Record(BaseModel):
    """A part of a line; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ElementRecord(Record):
    """One element of a screen."""

    role: str
    text: str
    box: Corners
    value: str = ""
    state: str = ""


class StepRecord(Record):
    """One step: the screen before the action, and the action."""

    image: str | None = None
    """The picture's name; null for a step without a screen."""
    width: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)
    elements: list[ElementRecord] | None = None
    action: dict[str, Any]
    """``{"type": ..., argument: value}`` in the grammar of tracer/action.py."""
    target: Corners | None = None
    instruction: str
    observation: str = ""


class Episode(Record):
    """One line."""

    id: str = Field(min_length=1)
    source: str = Field(min_length=1)
    task: str = Field(min_length=1)
    seed: int | None = None
    url: str | None = None
    """The page on which `tracer record --replay` can do it again."""
    split: Literal["train", "validation", "test", "heldout"]
    goal: str = Field(min_length=1)
    outcome: Literal["success", "failure", "unknown"] = "unknown"
    steps: list[StepRecord] = Field(min_length=1)


def read(path: Path) -> Iterator[Trajectory | Rejected]:
    """Every episode of every ``.jsonl`` under a folder, in the order of names and lines; or of one such file."""
    # A Mac puts a "._x.jsonl" beside each "x.jsonl" that it packs.
    found = (file for file in path.rglob("*.jsonl") if file.is_file() and not file.name.startswith("._"))
    files = sorted(found) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise SourceError(f"{path} contains no .jsonl file; `dvc pull` fetches the data, `tracer record` records it")
    base = path if path.is_dir() else path.parent
    seen: dict[str, str] = {}
    for file in files:
        yield from _episodes(file, file.relative_to(base).as_posix(), seen)


def _episodes(file: Path, name: str, seen: dict[str, str]) -> Iterator[Trajectory | Rejected]:
    empty = True
    with Pictures(file) as pictures:
        for line in large_json.lines(file):
            empty = False
            origin = Origin(source="jsonl", file=name, row=line.number, raw=partial(bytes, line.data))
            found = origin.read(partial(_read, file, pictures, seen))
            if isinstance(found, Trajectory):
                seen[found.id] = f"{name}, row {line.number}"
            yield found
    if empty:
        nothing = Refused("empty file", "it contains no episode", "delete the file, or record it again")
        yield Origin(source="jsonl", file=name, row=1).rejected(nothing)


def _read(file: Path, pictures: Pictures, seen: dict[str, str], origin: Origin) -> Trajectory:
    episode = _parse(origin.raw())
    origin.id, origin.steps = episode.id, len(episode.steps)
    if len(episode.steps) > MAX_STEPS:
        raise too_many_steps(len(episode.steps))
    trajectory = _trajectory(episode, file, once(pictures.sized))
    if episode.id in seen:
        raise Refused(
            "duplicate id", f"{episode.id!r} was read before, in {seen[episode.id]}", "give each an id of its own"
        )
    return trajectory


def _parse(line: str | bytes) -> Episode:
    if len(line) >= large_json.MAX_LINE_BYTES:
        raise Refused("line too long", f"over {large_json.MAX_LINE_BYTES} bytes", "keep pictures out of the line")
    try:
        return Episode.model_validate_json(line)
    except ValidationError as error:
        first, count = error.errors()[0], error.error_count()
        if first["type"] == "json_invalid":
            ends = "" if line[-1:] in (b"\n", "\n") else "the last line is cut off: "
            raise Refused("broken line", f"{ends}{first['msg']}", "write the line again as one JSON object") from error
        where = ".".join(map(str, first["loc"]))
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise Refused(*_reason(first, f"{where}: {first['msg']}{more}")) from error


def _reason(error: Any, detail: str) -> tuple[str, str, str]:
    """The reason of a validation error, its detail, and the fix."""
    place = next((part for part in reversed(error["loc"]) if isinstance(part, str)), "")
    if place in ("box", "target") and error["type"] in ("greater_than_equal", "less_than_equal"):
        return "coordinate off the screen", detail, "boxes are fractions of the screen in [0, 1]"
    unknown = error["loc"] == ("split",) and error["type"] == "literal_error"
    return "unknown split" if unknown else "wrong field", detail, "compare the line with the format's JSON schema"


def _trajectory(episode: Episode, file: Path, pictures: Sized) -> Trajectory:
    folder = file.parent.name
    if folder in SPLITS and folder != episode.split:
        detail = f"the episode says {episode.split!r} but is in the folder {folder!r}"
        raise Refused("wrong split", detail, "move the line, or correct its split")
    fields = {name: getattr(episode, name) for name in ("id", "source", "split", "task", "goal", "outcome")}
    return Trajectory(
        **fields, steps=tuple(_step(record, index, pictures) for index, record in enumerate(episode.steps))
    )


def _step(record: StepRecord, index: int, pictures: Sized) -> Step:
    try:
        action = Action.from_json(record.action)
        image = None if record.image is None else _picture(record, record.image, pictures)
        elements = None if record.elements is None else tuple(map(_element, record.elements))
        target = None if record.target is None else _box(record.target)
    except ActionError as error:
        raise broken(f"step {index}", error) from error
    except Refused as error:
        raise Refused(error.reason, f"step {index}: {error.detail}", error.fix) from error
    return Step(
        action=action,
        instruction=record.instruction,
        image=image,
        width=record.width,
        height=record.height,
        elements=elements,
        target=target,
        observation=record.observation,
    )


def _picture(record: StepRecord, name: str, pictures: Sized) -> bytes:
    image, size = pictures(name)
    if size != (record.width, record.height):
        detail = f"{name!r} is {size[0]} x {size[1]}, stated {record.width} x {record.height}"
        raise Refused("wrong picture size", detail, "correct width and height, or the picture")
    return image


def _element(record: ElementRecord) -> Element:
    return Element.from_dict({**record.model_dump(), "box": _box(record.box)})


def _box(corners: Corners) -> Box:
    left, top, right, bottom = corners
    if left > right or top > bottom:
        raise Refused("inverted box", f"{list(corners)} is not (left, top, right, bottom)", "order the corners")
    return corners


class Pictures:
    """The pictures beside one jsonl file: in the archive of its name, or in the folder ``images``."""

    def __init__(self, file: Path) -> None:
        self._archive = file.with_suffix(".tar")
        self._folder = file.parent / "images"
        self._members: dict[str, tuple[int, int]] = {}
        self._damage = ""

    def __enter__(self) -> Pictures:
        self._file = self._archive.open("rb") if self._archive.is_file() else None
        if self._file is not None:
            self._index(self._file)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _index(self, file: BinaryIO) -> None:
        """Where each member is. A cut archive keeps the members before the cut, and remembers the cut."""
        size, end = self._archive.stat().st_size, 0
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.size < 0:
                        raise tarfile.ReadError(f"{member.name!r} has {member.size} bytes")
                    if member.isreg() and member.offset_data + member.size <= size:
                        name = str(PurePosixPath(member.name))  # without the "./" that `tar -C folder .` writes
                        self._members[name] = (member.offset_data, member.size)
                end = archive.offset
        except (tarfile.TarError, ValueError, OverflowError) as error:  # what numbers out of range raise there
            self._damage = str(error)
            return
        # tarfile takes a cut between two members for the end; only the block of zeros says that it is the end.
        file.seek(end)
        if file.read(BLOCK) != bytes(BLOCK):
            self._damage = f"it ends at byte {size} without an end mark"

    def sized(self, name: str) -> tuple[bytes, tuple[int, int]]:
        """A picture, and its width and height; raises ``Refused``."""
        image = self.get(name)
        return image, picture_size(image, repr(name))

    def get(self, name: str) -> bytes:
        """The bytes of a picture; raises ``Refused``."""
        name = checked_name(name)
        if self._file is not None:
            return self._from_archive(self._file, name)
        if not (self._folder / name).is_file():
            detail = f"{name!r} is neither in {self._archive.name}, which does not exist, nor in images/"
            raise Refused("missing picture", detail, "put the picture there, or drop the episode")
        return read_inside(self._folder, name)

    def _from_archive(self, file: BinaryIO, name: str) -> bytes:
        archive = self._archive.name
        if name not in self._members and self._damage:
            detail = f"{name!r} is not in {archive}, which is damaged ({self._damage})"
            raise Refused("truncated archive", detail, f"fetch or record {archive} again")
        if name not in self._members:
            fix = "add the picture to the archive, or drop the episode"
            raise Refused("missing picture", f"{archive} has no file {name!r}", fix)
        offset, size = self._members[name]
        if size > MAX_IMAGE_BYTES:
            raise Refused("file too large", f"{name!r} has {size} bytes", "shrink it")
        file.seek(offset)
        return file.read(size)

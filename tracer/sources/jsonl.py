"""Our interchange format, for recordings of one's own; ``tracer record`` writes it too.

    <folder>/<split>/<name>.jsonl      one episode per line (``Episode``)
    <folder>/<split>/<name>.tar        its pictures, uncompressed; or a folder ``images/`` beside the jsonl

A picture is named by its member name in the archive, or its path inside ``images/``. Coordinates and boxes are
fractions of the screen. ``Episode.model_json_schema()`` is the format's JSON schema.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracer.action import GRAMMAR, Action, ActionError
from tracer.sources.source import MAX_IMAGE_BYTES, Refused, Rejected, SourceError, checked_name, picture_size
from tracer.trajectory import SPLITS, Box, Element, Step, Trajectory

MAX_LINE_BYTES = 64 * 2**20
BLOCK = 512

Fraction = Annotated[float, Field(ge=0, le=1)]
Corners = tuple[Fraction, Fraction, Fraction, Fraction]
"""Left, top, right, bottom."""


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
    split: Literal["train", "validation", "test", "heldout"]
    goal: str = Field(min_length=1)
    outcome: Literal["success", "failure", "unknown"] = "unknown"
    steps: list[StepRecord] = Field(min_length=1)


def read(path: Path) -> Iterator[Trajectory | Rejected]:
    """Every episode of every ``.jsonl`` under a folder, in the order of names and lines; or of one such file."""
    files = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise SourceError(f"{path} contains no .jsonl file; `dvc pull` fetches the data, `tracer record` records it")
    base = path if path.is_dir() else path.parent
    seen: dict[str, str] = {}
    for file in files:
        yield from _episodes(file, file.relative_to(base).as_posix(), seen)


def _episodes(file: Path, name: str, seen: dict[str, str]) -> Iterator[Trajectory | Rejected]:
    with ExitStack() as stack:
        lines = stack.enter_context(file.open("rb"))
        pictures = stack.enter_context(Pictures(file))
        row, empty = 0, True
        while line := lines.readline(MAX_LINE_BYTES + 1):
            row, id = row + 1, ""
            if not line.strip():
                continue
            empty = False
            try:
                episode = _parse(line, cut=not line.endswith(b"\n") and not lines.peek(1))
                id = episode.id
                trajectory = _trajectory(episode, file, pictures)
                if id in seen:
                    raise Refused(
                        "duplicate id", f"{id!r} was read before, in {seen[id]}", "give each an id of its own"
                    )
            except Refused as error:
                yield Rejected.of(error, source="jsonl", file=name, row=row, id=id, raw=line)
            else:
                seen[id] = f"{name}, row {row}"
                yield trajectory
            while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):  # the rest of a line over the limit
                line = lines.readline(MAX_LINE_BYTES + 1)
                if not line:
                    break
        if empty:
            nothing = Refused("empty file", "it contains no episode", "delete the file, or record it again")
            yield Rejected.of(nothing, source="jsonl", file=name, row=max(row, 1))


def _parse(line: bytes, cut: bool) -> Episode:
    if len(line) > MAX_LINE_BYTES:
        raise Refused("line too long", f"over {MAX_LINE_BYTES} bytes", "keep pictures out of the line")
    try:
        return Episode.model_validate_json(line)
    except ValidationError as error:
        first, count = error.errors()[0], error.error_count()
        more = f" (and {count - 1} more)" if count > 1 else ""
        if first["type"] == "json_invalid":
            ends = "the last line is cut off: " if cut else ""
            raise Refused("broken line", f"{ends}{first['msg']}", "write the line again as one JSON object") from error
        where = ".".join(map(str, first["loc"]))
        raise Refused(_reason(first), f"{where}: {first['msg']}{more}", _mend(first)) from error


def _reason(error: Any) -> str:
    place = next((part for part in reversed(error["loc"]) if isinstance(part, str)), "")
    if place in ("box", "target") and error["type"] in ("greater_than_equal", "less_than_equal"):
        return "coordinate off the screen"
    return "unknown split" if error["loc"] == ("split",) and error["type"] == "literal_error" else "wrong field"


def _mend(error: Any) -> str:
    off = _reason(error) == "coordinate off the screen"
    return "boxes are fractions of the screen in [0, 1]" if off else "hold the line against the format's JSON schema"


def _trajectory(episode: Episode, file: Path, pictures: Pictures) -> Trajectory:
    folder = file.parent.name
    if folder in SPLITS and folder != episode.split:
        raise Refused(
            "wrong split",
            f"the episode says {episode.split!r} but lies in the folder {folder!r}",
            "move the line, or correct its split",
        )
    return Trajectory(
        id=episode.id,
        source=episode.source,
        split=episode.split,
        task=episode.task,
        goal=episode.goal,
        outcome=episode.outcome,
        steps=tuple(_step(record, index, pictures) for index, record in enumerate(episode.steps)),
    )


def _step(record: StepRecord, index: int, pictures: Pictures) -> Step:
    try:
        action = Action.from_json(record.action)
    except ActionError as error:
        reason = _action_reason(record.action, str(error))
        raise Refused(reason, f"step {index}: {error}", "correct the action") from error
    image = None
    if record.image is not None:
        image = pictures.get(record.image, index)
        size = picture_size(image, f"step {index}: {record.image!r}")
        if size != (record.width, record.height):
            raise Refused(
                "wrong picture size",
                f"step {index}: {record.image!r} is {size[0]} x {size[1]}, stated {record.width} x {record.height}",
                "correct width and height, or the picture",
            )
    return Step(
        action=action,
        instruction=record.instruction,
        image=image,
        width=record.width,
        height=record.height,
        elements=None if record.elements is None else tuple(_element(element) for element in record.elements),
        target=None if record.target is None else _box(record.target),
        observation=record.observation,
    )


def _action_reason(action: dict[str, Any], message: str) -> str:
    if isinstance(action.get("type"), str) and action["type"] not in GRAMMAR:
        return "unknown action"
    return "coordinate off the screen" if "off the screen" in message else "broken action"


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
            self._index()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _index(self) -> None:
        """Where each member is. A cut archive keeps the members before the cut, and remembers the cut."""
        assert self._file is not None
        size, end = self._archive.stat().st_size, 0
        try:
            with tarfile.open(fileobj=self._file, mode="r:") as archive:
                for member in archive:
                    if member.isreg() and member.offset_data + member.size <= size:
                        self._members[member.name] = (member.offset_data, member.size)
                end = archive.offset
        except tarfile.TarError as error:
            self._damage = str(error)
            return
        # tarfile takes a cut between two members for the end; only the block of zeros says that it is the end.
        self._file.seek(end)
        if self._file.read(BLOCK) != bytes(BLOCK):
            self._damage = f"it ends at byte {size} without an end mark"

    def get(self, name: str, step: int) -> bytes:
        """The bytes of a picture; raises ``Refused``."""
        checked_name(name)
        if self._file is not None:
            return self._from_archive(name, step)
        path = self._folder / name
        if not path.is_file():
            raise Refused(
                "missing picture",
                f"step {step}: {name!r} is neither in {self._archive.name}, which does not exist, nor in images/",
                "put the picture there, or drop the episode",
            )
        if not path.resolve().is_relative_to(self._folder.resolve()):
            detail = f"step {step}: {name!r} links out of images/"
            raise Refused("unsafe file name", detail, "copy the picture into images/")
        if path.stat().st_size > MAX_IMAGE_BYTES:
            raise Refused("picture too large", f"step {step}: {name!r} has {path.stat().st_size} bytes", "shrink it")
        return path.read_bytes()

    def _from_archive(self, name: str, step: int) -> bytes:
        assert self._file is not None
        if name not in self._members:
            if self._damage:
                raise Refused(
                    "truncated archive",
                    f"step {step}: {name!r} is not in {self._archive.name}, which is damaged ({self._damage})",
                    f"fetch or record {self._archive.name} again",
                )
            raise Refused(
                "missing picture",
                f"step {step}: {self._archive.name} has no file {name!r}",
                "add the picture to the archive, or drop the episode",
            )
        offset, size = self._members[name]
        if size > MAX_IMAGE_BYTES:
            raise Refused("picture too large", f"step {step}: {name!r} has {size} bytes", "shrink it")
        self._file.seek(offset)
        return self._file.read(size)

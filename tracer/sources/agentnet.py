"""AgentNet (xlangai/AgentNet, OpenCUA): desktop demonstrations.

    <path>/agentnet_ubuntu_5k.jsonl, agentnet_win_mac_18k.jsonl   one trajectory a line
    <path>/ubuntu_images/, win_mac_images/                        images.z01 ... images.zip (one split archive), or
                                                                  the pictures unpacked into the folder
    <path>/meta_data_merged.jsonl                                 optional: the system and applications of a task

The code of a step is read by tracer/sources/pyautogui.py. There is no official split: everything is ``train``. Task
ids repeat, so that the id here also names the recording: a CRC of its picture names. The task is the ``domain``,
else the first application of the meta data, else the system. Thoughts, reflections and scores are not kept; the
labels of a step (``last_step_correct``, ``last_step_redundant``) are about that step itself and filter it here. A step
that cannot be read costs its trajectory, or with ``cut`` what follows it; the steps that this loses are counted.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from tracer.instruction import describe
from tracer.sources import large_json, pyautogui
from tracer.sources.boundary import MAX_STEPS, Origin, too_many_steps
from tracer.sources.calls import check_total
from tracer.sources.source import Refused, Rejected, SourceError, once, said
from tracer.sources.store import Store, store
from tracer.trajectory import Step, Trajectory

NAME = "agentnet"
FILES = {"agentnet_ubuntu_5k.jsonl": "ubuntu_images", "agentnet_win_mac_18k.jsonl": "win_mac_images"}
META = "meta_data_merged.jsonl"
PUBLISHED = {"trajectories": 22_625}
OUTCOMES = {True: "success", False: "failure", None: "unknown"}
FIX = "correct the line, or leave it out"


# Only what is read: the parser skips the rest of a line, three quarters of it, without building objects.
class Value(msgspec.Struct, gc=False):
    """The ``value`` of a published step: what was done."""

    code: str
    action: str | None = None
    last_step_correct: bool | None = None
    last_step_redundant: bool | None = None


class Moment(msgspec.Struct, gc=False):
    """One published step."""

    image: str
    value: Value
    index: int | None = None


class Header(msgspec.Struct, gc=False, kw_only=True):
    """One published trajectory, without its steps."""

    task_id: str
    instruction: str | None = None
    natural_language_task: str | None = None
    actual_task: str | None = None
    task_completed: bool | None = None
    domain: str | None = None


class Line(Header, gc=False, kw_only=True):
    """One published trajectory, read at once."""

    traj: list[Moment]


class Loose(Header, gc=False, kw_only=True):
    """The same where a step cannot be read: the steps as they are written."""

    traj: list[msgspec.Raw]


class Meta(msgspec.Struct, gc=False):
    """One line of ``meta_data_merged.jsonl``."""

    task_id: str
    system: str | None = None
    applications: list[str] | None = None


LINE, LOOSE, MOMENT = msgspec.json.Decoder(Line), msgspec.json.Decoder(Loose), msgspec.json.Decoder(Moment)
Parsed = TypeVar("Parsed")
Goal = Literal["instruction", "natural_language_task", "actual_task"]


def parts(path: Path) -> list[str]:
    """Byte ranges of the files, ``<file>@<number>``; raises ``SourceError`` if there is neither file."""
    files = [path / name for name in FILES if (path / name).is_file()]
    if not files:
        raise SourceError(f"{path} holds neither {' nor '.join(FILES)}; fetch the data set there")
    return [f"{file.name}@{number:05d}" for file in files for number in range(large_json.ranges(file))]


def read(
    path: Path,
    part: str | None = None,
    images: bool = True,
    goal: Goal = "instruction",
    labels: bool = False,
    cut: bool = False,
) -> Iterator[Trajectory | Rejected]:
    """The trajectories of one byte range or all.

    ``images`` false reads the lines alone. ``goal`` is the field that becomes the goal, where it is not empty, else
    the annotator's instruction. ``labels`` true leaves out the steps that were labelled incorrect or redundant. ``cut``
    true keeps the steps before the first one that cannot be read, with the outcome unknown.
    """
    meta = _meta(path / META)
    for name in parts(path) if part is None else [part]:
        file, _, number = name.partition("@")
        wanted = Wanted(meta, _pictures(path / FILES[file]) if images else None, goal, labels, cut)
        lines = path / file
        for line in large_json.lines(lines, int(number)):
            row, raw = partial(large_json.row_of, lines, line), partial(bytes, line.data)
            yield from _read(Origin(source=NAME, file=file, row=row, raw=raw), wanted)


class Wanted(NamedTuple):
    """The options of ``read``, and what belongs to them."""

    meta: dict[str, str]
    pictures: Store | None
    goal: Goal
    labels: bool
    cut: bool


def _read(origin: Origin, wanted: Wanted) -> Iterator[Trajectory | Rejected]:
    steps: list[Step] = []  # those before the first that cannot be read
    found = origin.read(lambda _: _trajectory(origin, steps, wanted))
    yield found
    if wanted.cut and isinstance(found, Rejected) and steps:
        record = _line(origin.raw())
        yield origin.read(lambda _: _made(record, steps[:MAX_STEPS], origin, "unknown", wanted))


def _trajectory(origin: Origin, steps: list[Step], wanted: Wanted) -> Trajectory:
    """The whole trajectory; ``steps`` holds what could be read where it raises."""
    record = _line(origin.raw())
    origin.steps = len(record.traj)
    moments = list(_moments(record.traj))
    origin.id = _id(record, moments)
    shown: Callable[[str], dict[str, Any]] = once(wanted.pictures.screen) if wanted.pictures else lambda _: {}
    check_total(moment.value.code for moment in moments if isinstance(moment, Moment))
    for moment in moments:
        if isinstance(moment, Refused):
            raise moment
        steps += _steps(moment, shown, wanted.labels)
        origin.steps -= wanted.cut
        if len(steps) > MAX_STEPS:
            raise too_many_steps(len(steps))
    return _made(record, steps, origin, OUTCOMES[record.task_completed], wanted)


def _line(data: str | bytes) -> Line | Loose:
    try:
        return _parse(LINE, data)
    except Refused:
        return _parse(LOOSE, data)


def _moments(found: Iterable[Moment | msgspec.Raw]) -> Iterator[Moment | Refused]:
    """The published steps, up to the first that is no step or not where its index says."""
    for position, each in enumerate(found):
        try:
            moment = each if isinstance(each, Moment) else _parse(MOMENT, each)
            if moment.index not in (None, position):
                detail = f"step {position} has the index {moment.index}: a step is missing, doubled or moved"
                raise Refused("wrong field", detail, FIX)
        except Refused as error:
            yield error
            return
        yield moment


def _parse(decoder: msgspec.json.Decoder[Parsed], data: str | bytes | msgspec.Raw) -> Parsed:
    if not isinstance(data, msgspec.Raw) and len(data) >= large_json.MAX_LINE_BYTES:
        raise Refused("line too long", f"over {large_json.MAX_LINE_BYTES} bytes", FIX)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise Refused("wrong field", str(error), FIX) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("broken line", str(error)[:200], FIX) from error


def _id(record: Header, moments: list[Moment | Refused]) -> str:
    # Two rows of one task id are two recordings if their pictures differ, and a duplicate if they do not.
    names = [moment.image for moment in moments if isinstance(moment, Moment)]
    return f"{NAME}/{record.task_id}/{zlib.crc32(chr(0).join(names).encode()):08x}"


def _steps(moment: Moment, shown: Callable[[str], dict[str, Any]], labels: bool) -> list[Step]:
    value = moment.value
    if labels and (value.last_step_redundant or value.last_step_correct is False):
        return []
    actions = pyautogui.actions(value.code)
    screen = shown(moment.image)
    # One recorded step of several calls was made on one screen, and its words describe all of them.
    words = value.action if len(actions) == 1 else ""
    return [Step(action=action, instruction=said(words) or describe(action), **screen) for action in actions]


def _made(record: Header, steps: list[Step], origin: Origin, outcome: str, wanted: Wanted) -> Trajectory:
    task = said(record.domain, wanted.meta.get(record.task_id)) or NAME
    goal = said(getattr(record, wanted.goal), record.instruction)
    return origin.trajectory(steps, split="train", task=task, goal=goal, outcome=outcome)


@lru_cache(maxsize=2)
def _meta(path: Path) -> dict[str, str]:
    """The task of each task id, from the meta data."""
    if not path.is_file():
        return {}
    decoder, found = msgspec.json.Decoder(Meta), {}
    for line in large_json.lines(path):
        try:
            meta = decoder.decode(line.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            row = large_json.row_of(path, line)
            raise SourceError(f"{path}, line {row}: {error}; fetch it again, or delete it to do without") from error
        found[meta.task_id] = meta.applications[0] if meta.applications else meta.system or ""
    return found


def _pictures(folder: Path) -> Store:
    """The pictures of one group: in a zip archive, split or whole, or unpacked into the folder."""
    if not folder.is_dir():
        raise SourceError(f"{folder} does not exist; fetch the pictures, or read the lines alone with images=false")
    archive = folder / "images.zip"
    if not archive.is_file() and any(folder.glob("images.z[0-9]*")):
        raise SourceError(f"{folder} holds parts of images.zip but not images.zip itself, the last part; fetch it")
    return store(folder, ((archive,),) if archive.is_file() else ())

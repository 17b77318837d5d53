"""AgentNet (xlangai/AgentNet, OpenCUA): desktop demonstrations.

    <path>/agentnet_ubuntu_5k.jsonl, agentnet_win_mac_18k.jsonl   one trajectory a line
    <path>/ubuntu_images/, win_mac_images/                        images.z01 ... images.zip (one split archive), or
                                                                  the pictures unpacked into the folder
    <path>/meta_data_merged.jsonl                                 optional: the system and applications of a task

The code of a step is read by tracer/sources/pyautogui.py. There is no official split: everything is ``train``. Task
ids repeat, so that the id here also names the recording: a CRC of its picture names. The task is the ``domain``,
else the first application of the meta data, else the system. Thoughts, reflections and scores are not kept; the
labels of a step (``last_step_correct``, ``last_step_redundant``) are about that step itself and filter it here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Literal

import msgspec

from tracer.instruction import describe
from tracer.sources import large_json, pyautogui
from tracer.sources.source import Refused, Rejected, SourceError, screen
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
    action: str = ""
    last_step_correct: bool | None = None
    last_step_redundant: bool | None = None


class Moment(msgspec.Struct, gc=False):
    """One published step."""

    image: str
    value: Value


class Line(msgspec.Struct, gc=False):
    """One published trajectory."""

    task_id: str
    traj: list[Moment]
    instruction: str = ""
    natural_language_task: str = ""
    actual_task: str = ""
    task_completed: bool | None = None
    domain: str | None = None


class Meta(msgspec.Struct, gc=False):
    """One line of ``meta_data_merged.jsonl``."""

    task_id: str
    system: str | None = None
    applications: list[str] | None = None


Goal = Literal["instruction", "natural_language_task", "actual_task"]


def parts(path: Path) -> list[str]:
    """Byte ranges of the files, ``<file>@<number>``; raises ``SourceError`` if there is neither file."""
    files = [path / name for name in FILES if (path / name).is_file()]
    if not files:
        raise SourceError(f"{path} holds neither {' nor '.join(FILES)}; fetch the data set there")
    return [f"{file.name}@{number:05d}" for file in files for number in range(large_json.ranges(file))]


def read(
    path: Path, part: str | None = None, images: bool = True, goal: Goal = "instruction", labels: bool = False
) -> Iterator[Trajectory | Rejected]:
    """The trajectories of one byte range or all.

    ``images`` false reads the lines alone. ``goal`` is the field that becomes the goal, where it is not empty, else
    the annotator's instruction. ``labels`` true leaves out the steps that were labelled incorrect or redundant.
    """
    decoder = msgspec.json.Decoder(Line)
    meta = _meta(path / META)
    for name in parts(path) if part is None else [part]:
        file, _, number = name.partition("@")
        pictures = _pictures(path / FILES[file]) if images else None
        for line in large_json.lines(path / file, int(number)):
            id = ""
            try:
                record = _parse(decoder, line.data)
                id = _id(record)
                yield _trajectory(record, id, meta, pictures, goal, labels)
            except Refused as error:
                row = large_json.row_of(path / file, line)
                yield Rejected.of(error, source=NAME, file=file, row=row, id=id, raw=line.data)


def _parse(decoder: msgspec.json.Decoder[Line], data: bytes) -> Line:
    if len(data) >= large_json.MAX_LINE_BYTES:
        raise Refused("line too long", f"over {large_json.MAX_LINE_BYTES} bytes", FIX)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise Refused("wrong field", str(error), FIX) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("broken line", str(error)[:200], FIX) from error


def _id(record: Line) -> str:
    # Two rows of one task id are two recordings if their pictures differ, and a duplicate if they do not.
    pictures = zlib.crc32("\0".join([moment.image for moment in record.traj]).encode())
    return f"{NAME}/{record.task_id}/{pictures:08x}"


def _trajectory(
    record: Line, id: str, meta: dict[str, str], pictures: Store | None, goal: Goal, labels: bool
) -> Trajectory:
    steps: list[Step] = []
    for moment in record.traj:
        value = moment.value
        if labels and (value.last_step_redundant or value.last_step_correct is False):
            continue
        actions = pyautogui.actions(value.code)
        shown = {} if pictures is None else screen(pictures.get(moment.image), moment.image)
        # One recorded step of several calls was made on one screen, and its words describe all of them.
        words = value.action if len(actions) == 1 else ""
        steps += [Step(action=action, instruction=words or describe(action), **shown) for action in actions]
    if not steps:
        raise Refused("no actions", f"no step{' is left' if labels else ''}", "nothing to fix")
    return Trajectory(
        id=id,
        source=NAME,
        split="train",
        task=record.domain or meta.get(record.task_id) or NAME,
        goal=getattr(record, goal) or record.instruction,
        steps=tuple(steps),
        outcome=OUTCOMES[record.task_completed],
    )


@lru_cache(maxsize=2)
def _meta(path: Path) -> dict[str, str]:
    """The task of each task id, from the meta data."""
    if not path.is_file():
        return {}
    decoder, found = msgspec.json.Decoder(Meta), {}
    for line in large_json.lines(path):
        try:
            meta = decoder.decode(line.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
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
    return store(folder, (archive,) if archive.is_file() else ())

"""Multimodal-Mind2Web (osunlp/Multimodal-Mind2Web): web demonstrations, one Parquet row per step.

    <path>/[data/]<split>-00000-of-00027-<hash>.parquet    splits train, test_task, test_website, test_domain

Boxes are pixels of a full-page screenshot, three levels of JSON deep (candidate, its ``attributes``, their
``bounding_box_rect`` "x,y,width,height"). HOVER and ENTER are published as CLICK, and are clicks here. Rules:
*original target*: the point is the centre of the candidate marked as the original target, else of the first one;
*outermost*: the target is the largest positive box that holds the point, since positives are nested and the official
metric counts a point in any of them. The task of a test step is its published split, of a training step its website.

Rows without a screenshot or a target cannot be scored and are quarantined one by one, as are steps that
``action_reprs`` names and no row holds. Any of them, and a step that is there twice, costs its task, or with ``cut``
what follows it: no trajectory reaches across a gap.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tracer.action import Action
from tracer.instruction import describe
from tracer.sources.actions import MIND2WEB
from tracer.sources.boundary import MAX_STEPS, Origin, check_step, too_many_steps
from tracer.sources.source import MAX_PAGE_PIXELS, Refused, Rejected, SourceError, json_object, on_screen, screen
from tracer.trajectory import Box, Element, Step, Trajectory, centre, inside

NAME = "mind2web"
SPLITS = {"train": "train", "test_task": "test", "test_website": "test", "test_domain": "test"}
FILE = re.compile(r"(train|test_task|test_website|test_domain)-(\d{5})-of-(\d{5})(-[0-9a-f]+)?\.parquet")
PUBLISHED = {
    "splits.train.trajectories": 1_009,
    "splits.train.steps": 7_775,
    "splits.test.tasks.test_task.trajectories": 177,
    "splits.test.tasks.test_task.steps": 1_339,
    "splits.test.tasks.test_website.trajectories": 142,
    "splits.test.tasks.test_website.steps": 1_019,
    "splits.test.tasks.test_domain.trajectories": 694,
    "splits.test.tasks.test_domain.steps": 4_060,
}
COLUMNS = [
    "annotation_id", "action_uid", "confirmed_task", "website", "screenshot", "operation", "pos_candidates",
    "action_reprs", "target_action_index", "target_action_reprs",
]  # fmt: skip
KINDS = {
    "screenshot": re.compile("struct|null"),
    "action_reprs": re.compile("(large_)?(list|string)|null"),
}
"""The types of columns that are taken apart."""
NO_LAYOUT = "-1,-1,-1,-1"
"""The published rectangle of an element that the page does not show, such as the choices of a closed list."""
BATCH_ROWS = 8
INDEX = re.compile(r"[0-9]{1,6}")
MAX_PENDING = 512 * 2**20
TEXTS = ("aria_label", "placeholder", "title", "alt", "input_value", "value", "name")
ARROW = re.compile(r"->\s*+\w++(?::|\Z)")
"""Where ``[button]  Search -> CLICK`` turns from the target to the operation; searched for in linear time."""
FIX = "fetch the file again, or leave the row out"

Row = dict[str, Any]


def parts(path: Path) -> list[str]:
    """The files' names; raises ``SourceError`` for a missing one."""
    root = _root(path)
    found = [match for file in sorted(root.iterdir()) if (match := FILE.fullmatch(file.name))]
    for split in SPLITS:
        numbers = {int(match[2]) for match in found if match[1] == split}
        totals = {int(match[3]) for match in found if match[1] == split}
        if len(totals) > 1 or (totals and numbers != set(range(max(totals)))):
            raise SourceError(f"{root} holds {len(numbers)} files of {split}, which say of {sorted(totals)}; fetch all")
    return [match[0] for match in found]


def read(
    path: Path, part: str | None = None, elements: bool = False, cut: bool = False
) -> Iterator[Trajectory | Rejected]:
    """The tasks whose first row lies in one file, or all.

    ``elements`` lists the page's candidates, named by their attributes, from top to bottom; they are thousands a page.
    ``cut`` true keeps the steps before the first that is missing, doubled or cannot be read.
    """
    root = _root(path)
    for name in parts(path) if part is None else [part]:
        yield from _file(root, name, elements, cut)


def _file(root: Path, name: str, elements: bool, cut: bool) -> Iterator[Trajectory | Rejected]:
    split = name.partition("-")[0]
    places = _places(root, split)
    pending: dict[str, list[tuple[str, int, Row]]] = {}
    held = 0
    for number, row in _rows(root / name, elements):
        task = row["annotation_id"]
        if not str(task or "").strip():
            refused = Refused("wrong field", f"annotation_id is {task!r}", FIX)
            yield Origin(source=NAME, file=name, row=number, raw=partial(_raw, row)).rejected(refused)
            continue
        if places[task][0][0] != name:
            continue  # its first row, and with it the task, belongs to an earlier file
        pending.setdefault(task, []).append((name, number, row))
        held += _weight(row)
        if len(pending[task]) == len(places[task]):
            rows = pending.pop(task)
            held -= sum(_weight(row) for _, _, row in rows)
            yield from _task(rows, split, elements, cut)
        if held > MAX_PENDING:
            raise SourceError(f"{root / name}: rows of {len(pending)} tasks lie far apart; sort it by annotation_id")
    for task, rows in pending.items():
        elsewhere = dict.fromkeys(file for file, _ in places[task] if file != name)
        rows += [(f, n, row) for f in elsewhere for n, row in _rows(root / f, elements, task)]
        yield from _task(rows, split, elements, cut)


@lru_cache(maxsize=4)
def _places(root: Path, split: str) -> dict[str, list[tuple[str, int]]]:
    """The file and row number, from 1, of every row of each task of a split."""
    places: dict[str, list[tuple[str, int]]] = {}
    for name in parts(root):
        if name.partition("-")[0] == split:
            with _opened(root / name) as file:
                ids = _ids(file.read(columns=["annotation_id"]))
            for number, id in enumerate(ids, 1):
                places.setdefault(id, []).append((name, number))
    return places


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A Parquet file with the published columns; raises ``SourceError`` also for what is damaged further on."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            columns = dict(zip(file.schema_arrow.names, map(str, file.schema_arrow.types), strict=True))
            missing = [name for name in COLUMNS if name not in columns]
            wrong = [
                f"{name} ({columns[name]})"
                for name, kinds in KINDS.items()
                if name in columns and not kinds.match(columns[name])
            ]
            if missing or wrong:
                lacks = f"has no column {', '.join(missing)}" if missing else f"has other columns: {', '.join(wrong)}"
                raise SourceError(f"{path} {lacks}; it is another data set, or another release")
            yield file
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{path} is not a whole Parquet file: {str(error).splitlines()[0]}; fetch it again"
        ) from error


def _rows(path: Path, elements: bool, task: str | None = None) -> Iterator[tuple[int, Row]]:
    """The rows with their numbers, from 1; of one task only where it is named."""
    columns = [*COLUMNS, "neg_candidates"] if elements else COLUMNS
    number = 0
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            if task is not None:
                ids = _ids(file.read_row_group(group, columns=["annotation_id"]))
                if task not in ids:
                    number += len(ids)
                    continue
            for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False):
                for row in _plain(batch):
                    number += 1
                    if task is None or row["annotation_id"] == task:
                        yield number, row


def _plain(batch: Any) -> list[Row]:
    """The rows of a batch or table; a byte that is not UTF-8 becomes a lone surrogate, for which its row is refused."""
    import pyarrow as pa

    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        binary = {
            field.name: pa.list_(pa.binary()) if pa.types.is_list(field.type) else pa.binary()
            for field in batch.schema
            if not pa.types.is_struct(field.type)  # the picture
        }
        fields = [field.with_type(binary.get(field.name, field.type)) for field in batch.schema]
        rows = batch.cast(pa.schema(fields)).to_pylist()
        return [{name: _decoded(value) if name in binary else value for name, value in row.items()} for row in rows]


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(each) for each in value]
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _ids(table: Any) -> list[Any]:
    return [row["annotation_id"] for row in _plain(table)]


def _weight(row: Row) -> int:
    return len((row["screenshot"] or {}).get("bytes") or b"") + 4096


def _task(rows: list[tuple[str, int, Row]], split: str, elements: bool, cut: bool) -> Iterator[Trajectory | Rejected]:
    first = rows[0][2]
    id = f"{NAME}/{split}/{first['annotation_id']}"
    steps: dict[int, Step | None] = {}  # None: the step cannot be read
    bad = 0
    for file, number, row in rows:
        origin = Origin(source=NAME, file=file, row=number, id=id, raw=partial(_raw, row), steps=1)
        found = origin.attempt(partial(_own, row, elements, steps))
        if isinstance(found, Rejected):
            bad += 1
            yield found
    origin = Origin(source=NAME, file=rows[0][0], row=rows[0][1], id=id)
    reprs = first["action_reprs"] or []
    reprs = reprs.split("\n") if isinstance(reprs, str) else reprs
    if len(reprs) > MAX_STEPS:
        yield origin.rejected(too_many_steps(len(reprs)))
        return
    for index in sorted(set(range(len(reprs))) - steps.keys()):
        gap = Refused("missing step", f"no row holds step {index}, {reprs[index]!r}", "it is published so")
        yield origin.rejected(gap)
    whole: list[Step] = []
    while (step := steps.get(len(whole))) is not None:
        whole.append(step)
    kept = whole if cut or len(whole) >= max(len(reprs), len(rows)) else []
    origin.steps = len(rows) - bad - len(kept)
    if origin.steps:
        detail = f"step {len(whole)} is missing, doubled or unreadable, which costs {origin.steps} others"
        yield origin.rejected(Refused("incomplete task", detail, "cut=true keeps the steps before it"))
    origin.steps = len(kept)
    if kept:
        task, goal = split if SPLITS[split] == "test" else first["website"], first["confirmed_task"]
        yield origin.read(lambda _: origin.trajectory(kept, split=SPLITS[split], task=task, goal=goal))


def _own(row: Row, elements: bool, steps: dict[int, Step | None], _: Origin) -> None:
    """Put a row's step in its place in the task; raises ``Refused``."""
    index = _index(row)
    doubled, steps[index] = index in steps, None
    if doubled:
        raise Refused("duplicate step", f"the task has step {index} twice", "keep one of the rows")
    step = _step(row, elements)
    check_step(step)  # a row that cannot be written costs its row, not its task
    steps[index] = step


def _index(row: Row) -> int:
    index = row["target_action_index"]
    if not isinstance(index, str) or not INDEX.fullmatch(index):
        raise Refused("wrong field", f"target_action_index is {str(index)[:40]!r}", FIX)
    return int(index)


def _step(row: Row, elements: bool) -> Step:
    image = (row["screenshot"] or {}).get("bytes")
    if not image:
        raise Refused("no screenshot", f"step {row['target_action_index']} has none", "it is published so")
    shown = screen(image, f"the screenshot of step {row['target_action_index']}", MAX_PAGE_PIXELS)
    size = shown["width"], shown["height"]
    operation = json_object(row["operation"], "operation", FIX)
    candidates = [json_object(text, "pos_candidates", FIX) for text in row["pos_candidates"] or []]
    boxes = [(candidate, box) for candidate in candidates if (box := _box(candidate, size)) is not None]
    if not boxes:
        detail = f"none of {len(candidates)} positive candidates lies on the page"
        raise Refused("no target", detail, "it is published so: the target was lost in cleaning")
    point = centre(next((box for candidate, box in boxes if candidate.get("is_original_target")), boxes[0][1]))
    target = max((box for _, box in boxes if inside(point, box)), key=_area)
    action = _action(operation, point)
    listed = _elements(candidates, row["neg_candidates"], size) if elements else None
    instruction = _instruction(row["target_action_reprs"], action, target)
    return Step(action=action, instruction=instruction, elements=listed, target=target, **shown)


def _action(operation: dict[str, Any], point: tuple[float, float]) -> Action:
    name = operation.get("op")
    value = {} if name == "CLICK" else {"value": operation.get("value")}
    return MIND2WEB.canonical(name, {"x": point[0], "y": point[1], **value})


def _instruction(words: Any, action: Action, target: Box) -> str:
    """The readable target, ``[button]  Search -> CLICK``, as a step instruction."""
    role, _, rest = words[1:].partition("]") if isinstance(words, str) and words.startswith("[") else ("", "", "")
    arrow = ARROW.search(rest)
    named = Element(role=role or "element", text=rest[: arrow.start()].strip(), box=target) if arrow else None
    return describe(action, named)


def _box(candidate: dict[str, Any], size: tuple[int, int]) -> Box | None:
    """The part of a candidate that lies on the page, in fractions; None where nothing does, or it has no layout."""
    attributes = json_object(candidate.get("attributes"), "attributes", FIX)
    rect = attributes.get("bounding_box_rect")
    if rect == NO_LAYOUT:
        return None
    try:
        x, y, width, height = map(float, str(rect).split(","))
    except ValueError as error:
        raise Refused("broken box", f"bounding_box_rect is {str(rect)[:80]!r}", FIX) from error
    if not all(map(math.isfinite, (x, y, width, height))) or width < 0 or height < 0:
        raise Refused("broken box", f"bounding_box_rect is {rect!r:.80}", FIX)
    return on_screen(x, y, x + width, y + height, size)


def _elements(positive: list[dict[str, Any]], negative: list[str], size: tuple[int, int]) -> tuple[Element, ...]:
    found = []
    for candidate in [*positive, *(json_object(text, "neg_candidates", FIX) for text in negative or [])]:
        box = _box(candidate, size)
        if box is not None:
            attributes = json_object(candidate["attributes"], "attributes", FIX)
            text = next((attributes[name] for name in TEXTS if isinstance(attributes.get(name), str)), "")
            found.append(Element(role=str(candidate.get("tag") or "element"), text=text, box=box))
    # Published order would give the answer away: the positives come first.
    return tuple(sorted(found, key=lambda element: (element.box[1], element.box[0], element.box, element.role)))


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _raw(row: Row) -> str:
    kept = {name: value for name, value in row.items() if name not in ("screenshot", "neg_candidates")}
    return json.dumps(kept, ensure_ascii=False, default=str)


def _root(path: Path) -> Path:
    root = path / "data" if (path / "data").is_dir() else path
    if not root.is_dir() or not any(FILE.fullmatch(file.name) for file in root.iterdir()):
        raise SourceError(f"{path} contains no file like train-00000-of-00027.parquet; fetch the data set there")
    return root

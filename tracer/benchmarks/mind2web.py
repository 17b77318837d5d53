"""Multimodal-Mind2Web: one step of a web task; element accuracy, operation F1 and step success.

Two modes: ``coordinate`` (a point inside any positive box, UGround's) and ``candidate`` (the id of a candidate among
the positives, MindAct's). Figures are macro, the mean over tasks of a task's mean; missing steps are wrong by UGround.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from tracer.action import Action
from tracer.scoring.contract import Outcome, Part, PredictionRow, Row, Unparsable
from tracer.scoring.drivers import ScreenBenchmark
from tracer.scoring.matching import operation_f1
from tracer.scoring.protocol import BenchmarkProtocol

OPERATIONS = ("CLICK", "SELECT", "TYPE")
BLOCK, OVERLAP = (1280, 1000), 200


class Item(Row):
    """One row of a test split. ``id`` is ``<annotation_id>_<action_uid>``."""

    task: str
    """annotation_id."""
    split: Literal["test_task", "test_website", "test_domain"]
    website: str = ""
    goal: str
    instruction: str = ""
    history: list[str] = Field(default_factory=list)
    step: int = Field(ge=0)
    total_steps: int = Field(gt=0)
    """The task's number of actions, rows that are missing included."""
    image: str | None = None
    """The full-page screenshot; None where the row has none: the step scores 0."""
    width: int = Field(default=0, ge=0)
    height: int = Field(default=0, ge=0)
    op: Literal["CLICK", "TYPE", "SELECT"]
    value: str = ""
    boxes: list[list[float]] = Field(default_factory=list)
    """Every positive box as (x, y, width, height) in page pixels."""
    positives: list[str] = Field(default_factory=list)
    """backend_node_id of every positive candidate."""
    in_top: bool = True
    """Candidate mode: whether the ranker's first 50 hold a positive; if not, the step scores 0."""


class Operation(Part):
    """A prediction in the benchmark's own form."""

    op: str
    value: str = ""
    point: list[float] | None = Field(default=None, min_length=2, max_length=2)
    """Page pixels (coordinate mode)."""
    element: str | None = None
    """A candidate's backend_node_id (candidate mode); None is "none of the above"."""


class Prediction(PredictionRow):
    """An operation on an element, or a choice among candidates."""

    native: Operation | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["coordinate", "candidate"]


class Mind2Web(ScreenBenchmark):
    """Mind2Web steps under one protocol."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one step. Raises ``Unparsable``."""
        element, f1 = False, 0.0
        if prediction is not None:
            ours = self._operation(prediction, item)
            element, f1 = {"candidate": candidate, "coordinate": coordinate}[self.match.rule](item, ours)
        return Outcome(
            parts={"element": (element, 1), "operation_f1": (f1, 1), "step": (element and f1 == 1.0, 1)},
            cluster=item.task,
            size=item.total_steps,
            groups=(f"op={item.op}", f"website={item.website}"),
        )

    def _operation(self, prediction: Prediction, item: Item) -> Operation:
        if "native" in prediction.model_fields_set:
            if prediction.native is None:
                raise Unparsable("native is null; an operation is needed")
            return prediction.native
        return operation(prediction.read_action((item.width, item.height)), item, self.protocol)


def coordinate(item: Item, ours: Operation) -> tuple[bool, float]:
    """(element, operation F1) by UGround's script: values count for every operation, the value "none" for none."""
    x, y = ours.point or (math.nan, math.nan)
    element = item.image is not None and any(
        left <= x <= left + width and top <= y <= top + height for left, top, width, height in item.boxes
    )
    value = "" if ours.value.lower() == "none" else ours.value
    return element, operation_f1(f"{ours.op} {value}", f"{item.op} {item.value}", exact=False)


def candidate(item: Item, ours: Operation) -> tuple[bool, float]:
    """(element, operation F1) by MindAct's script: 0 without a positive in the ranker's first 50, or a choice.

    An operation is one of three, in capitals, or none; a value ends with its line. A recorded CLICK has no value.
    """
    if not item.in_top or ours.element is None:
        return False, 0.0
    op = next((known for known in OPERATIONS if ours.op.startswith(known)), "")
    value = item.value if item.op != "CLICK" else ""
    f1 = operation_f1(f"{op} {first_line(ours.value)}", f"{item.op} {first_line(value)}", exact=True)
    return ours.element in item.positives, f1


def first_line(text: str) -> str:
    """What of a value a regular expression's dot reads."""
    return text.partition("\n")[0]


def operation(action: Action, item: Item, protocol: BenchmarkProtocol) -> Operation:
    """Our action as an operation on the page."""
    name = protocol.actions.get(action.type, action.type.upper())
    point = [action.point[0] * item.width, action.point[1] * item.height] if action.point else None
    return Operation(op=name, value=str(action.get("text", "")), point=point)


def row_item(row: Mapping[str, Any], split: str, step: int, total_steps: int, size: tuple[int, int]) -> dict[str, Any]:
    """The item of one row of the data set, whose operation, candidates and attributes are JSON inside JSON.

    ``size`` is the screenshot's (width, height), (0, 0) where it is null; ``step`` its place in the task.
    """
    done = json.loads(row["operation"])
    positives = [json.loads(candidate) for candidate in row["pos_candidates"]]
    boxes = []
    for candidate in positives:
        attributes = json.loads(candidate["attributes"])
        numbers = [float(number) for number in str(attributes.get("bounding_box_rect", "")).split(",") if number]
        if len(numbers) == 4 and all(map(math.isfinite, numbers)):
            boxes.append(numbers)
    reprs = row["action_reprs"]
    said = reprs.split("\n") if isinstance(reprs, str) else list(reprs)
    item = {
        "id": f"{row['annotation_id']}_{row['action_uid']}",
        "task": row["annotation_id"],
        "split": split,
        "website": row["website"],
        "goal": row["confirmed_task"],
        "history": said[:step],
        "step": step,
        "total_steps": max(total_steps, len(said)),
        "image": f"{row['annotation_id']}_{row['action_uid']}.png" if size != (0, 0) else None,
        "width": size[0],
        "height": size[1],
        "op": done["op"],
        "value": done["value"],
        "boxes": boxes,
        "positives": [str(candidate["backend_node_id"]) for candidate in positives],
    }
    Item.model_validate(item)
    return item


def page_blocks(
    size: tuple[int, int], boxes: Sequence[Sequence[float]] = (), seed: int = 0
) -> list[tuple[int, int, int, int]]:
    """The (left, top, right, bottom) crops UGround cuts a full page into, from the top down.

    1280 x 1000 pixels with 200 of overlap, from the left edge. A page without a known target has its first block
    only. Where no block holds a whole target, one more does: UGround places it at random within what contains the
    targets, here the draw is seeded.
    """
    width, height = size[0], size[1]
    across, down = min(width, BLOCK[0]), BLOCK[1]
    if not boxes:
        return [(0, 0, across, min(height, down))]
    tops = range(0, ((height - OVERLAP) // (down - OVERLAP) + 1) * (down - OVERLAP), down - OVERLAP)
    blocks = [(0, top, across, min(top + down, height)) for top in tops if top < height]
    held = any(
        left <= x and x + w <= right and top <= y and y + h <= top + down
        for x, y, w, h in boxes
        for left, top, right, _ in blocks
    )
    if not held:
        blocks.append(_around(size, boxes, across, seed))
    return sorted(blocks, key=lambda block: block[1])


def _around(
    size: tuple[int, int], boxes: Sequence[Sequence[float]], across: int, seed: int
) -> tuple[int, int, int, int]:
    left, right = min(box[0] for box in boxes), max(box[0] + box[2] for box in boxes)
    top, bottom = min(box[1] for box in boxes), max(box[1] + box[3] for box in boxes)
    tall = min(max(math.ceil(bottom - top), BLOCK[1]), size[1])
    wide = min(max(math.ceil(right - left), across), size[0])
    rng = random.Random(seed)
    lowest, highest = max(0, math.ceil(bottom - tall)), max(0, min(math.floor(top), size[1] - tall))
    start_y = rng.randint(min(lowest, highest), max(lowest, highest))
    start_x = 0 if right <= wide else max(0, min(math.floor(left), size[0] - wide))
    return start_x, start_y, start_x + wide, start_y + tall

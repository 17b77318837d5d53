"""The step table: one row per step with what can be checked about it, for the expectations of suite.py.

Columns called ``..._problem`` hold what is wrong in words, or null; the others hold numbers and names. The screenshots
are looked at batch by batch and not kept, so that the table of a large data set stays small.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer.action import COORDINATES, POINTED, Action, ActionError
from tracer.dataset import DatasetError, batches, schema, shards
from tracer.examples import state_digest
from tracer.instruction import locate
from tracer.planner.settings import PlannerConfig
from tracer.sources.source import MAX_PAGE_PIXELS, Refused, picture_size
from tracer.trajectory import Element, State, inside
from tracer.validation.lessons import FIXES, MIN_EPISODES, Size, of_step

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("file", "row", "trajectory_id", "step")
"""What names a row of the table."""
LAST = ("terminate", "answer")
SIDES = ("left", "top", "right", "bottom")
CONSTANT = ("source", "split", "task", "goal", "outcome", "steps")
NUMBERS = (*COORDINATES, *(f"target_{side}" for side in SIDES), "outside_target", "image_width", "image_height",
           "listless", "repeated")  # fmt: skip
PromptTokens = Callable[[Sequence[State]], list[int]]


def step_table(
    folder: Path, prompt_tokens: PromptTokens | None, planner: PlannerConfig, sees: Size | None
) -> pd.DataFrame:
    """The table of all shards of a folder; ``prompt_tokens`` counts the tokens of states' prompts, images included.

    ``sees`` is the size to which the planner shrinks every picture, where it does.

    Raises ``DatasetError`` for a shard that cannot be read.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for path in shards(folder):
        run: list[Mapping[str, Any]] = []
        for start, mismatch, batch in _batches(path):
            states: list[State] = []
            checked: list[dict[str, Any]] = []
            for index, row in enumerate(batch, start=start):
                if run and run[0]["trajectory_id"] != row["trajectory_id"]:
                    run = []
                states.append(State.from_dict(row, (past["instruction"] or "" for past in run)))
                checked.append({"file": path.name, "row": index, "schema_problem": mismatch})
                checked[-1] |= _checked(row, run, states[-1])
                checked[-1] |= _lessons(row, run, states[-1], planner, sees)
                run.append(
                    {name: row[name] for name in ("trajectory_id", "instruction", "action_type", "action", *CONSTANT)}
                )
            if prompt_tokens is not None:
                for one, count in zip(checked, prompt_tokens(states), strict=True):
                    one["prompt_tokens"] = count
            rows += checked
    table = pd.DataFrame(rows)
    if not rows:
        raise DatasetError(f"the shards of {folder} hold no row; run the step `ingest` again")
    # Without a single value a column is not there, and pandas cannot know that it holds numbers.
    table = table.reindex(columns=[*table.columns, *(name for name in NUMBERS if name not in table)])
    table = table.astype(dict.fromkeys(NUMBERS, "float64"))
    return _across(table)


def _batches(path: Path) -> Iterator[tuple[int, str | None, list[dict[str, Any]]]]:
    """A shard's rows in batches, each with its first row's number and what is wrong with its schema."""
    import pyarrow as pa

    start = 0
    for batch in batches(path):
        try:
            rows = batch.select(schema().names).cast(_nullable()).to_pylist()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DatasetError(f"{path}, row {start}: {error}; delete its folder and run `ingest` again") from error
        yield start, schema_problem(batch.schema), rows
        start += batch.num_rows


def _nullable() -> Any:
    """The canonical types with every column nullable: a null in the wrong place is a finding, not a crash."""
    import pyarrow as pa

    return pa.schema([field.with_nullable(True) for field in schema()])


def schema_problem(found: Any) -> str | None:
    """How an Arrow schema's columns and types differ from the canonical ones."""
    wanted = schema()
    differing = [f"{field.name} is {found.field(field.name).type}, not {field.type}" for field in wanted
                 if field.name in found.names and found.field(field.name).type != field.type]  # fmt: skip
    extra = [f"{name} is unknown" for name in found.names if name not in wanted.names]
    return "; ".join(differing + extra) or None


def _checked(row: Mapping[str, Any], run: Sequence[Mapping[str, Any]], state: State) -> dict[str, Any]:
    texts = ("trajectory_id", "source", "split", "task", "goal", "outcome", "action_type", "instruction")
    raw = _object(row["action"])
    varying = [name for name in CONSTANT if run and row[name] != run[0][name]]
    return {
        # Great Expectations passes over nulls, so that a missing value has to be a wrong one.
        **{name: row[name] or "" for name in texts},
        **{name: -1 if row[name] is None else row[name] for name in ("step", "steps", "width", "height")},
        "position": len(run),
        "varying_problem": f"{', '.join(varying)} differ from the first step's" if varying else None,
        "after_end_problem": f"step {len(run) - 1} is {run[-1]['action_type']!r}, and the trajectory goes on"
        if run and run[-1]["action_type"] in LAST else None,
        **_action(row["action"], raw),
        **_target(row, raw),
        **_elements(raw, row["instruction"] or "", state.elements or ()),
        **_image(row["image"]),
        "state": state_digest(state),
    }  # fmt: skip


def _lessons(
    row: Mapping[str, Any], run: Sequence[Mapping[str, Any]], state: State, planner: PlannerConfig, sees: Size | None
) -> dict[str, Any]:
    """What will not work in training, of a step whose action obeys the grammar."""
    before = None
    try:
        action = Action.from_json(row["action"] or "")
        before = Action.from_json(run[-1]["action"] or "") if run else None
    except ActionError:
        return {name: None for name in FIXES if name != "few_problem"}
    found = of_step(action, row["instruction"] or "", state, before, planner, sees)
    return {**found, "listless": float(found["listless_problem"] is not None), "repeated": float(action == before)}


def _action(text: str | None, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The action's grammar, and its coordinates even where the grammar refuses them."""
    try:
        action = Action.from_json(text or "")
    except ActionError as error:
        numbers = {name: raw[name] for name in COORDINATES if isinstance(raw.get(name), int | float)}
        return {"action_problem": str(error), "parsed_type": None, **numbers}
    return {"action_problem": None, "parsed_type": action.type, **{name: action.get(name) for name in COORDINATES}}


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "")
    except json.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _pointed(raw: Mapping[str, Any]) -> tuple[float, float] | None:
    """Where an action points, or None for one that does not."""
    x, y = raw.get("x"), raw.get("y")
    return (x, y) if isinstance(x, int | float) and isinstance(y, int | float) else None


def _target(row: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    target = row["target"]
    if target is None:
        return {"target_problem": None}
    if len(target) != 4 or any(side is None or not math.isfinite(side) for side in target):
        return {"target_problem": f"{target} is not left, top, right, bottom"}
    left, top, right, bottom = target
    found = dict(zip((f"target_{side}" for side in SIDES), target, strict=True))
    point = _pointed(raw) if row["action_type"] in POINTED else None
    if point is not None:
        across = max(left - point[0], 0.0, point[0] - right)
        found["outside_target"] = max(across, top - point[1], point[1] - bottom)
    inverted = left > right or top > bottom
    return {**found, "target_problem": "left is right of right, or top below bottom" if inverted else None}


def _elements(raw: Mapping[str, Any], instruction: str, elements: Sequence[Element]) -> dict[str, Any]:
    """Whether the elements are boxes on the screen, and if so, whether the instruction leads to the one pointed at."""
    problem = next(filter(None, (_element_problem(index, element) for index, element in enumerate(elements))), None)
    point = _pointed(raw) if raw.get("type") in POINTED and elements and not problem else None
    unlocatable = None
    if point is not None:
        index = locate(instruction, elements)
        if index is None:
            unlocatable = f"no element answers to {instruction!r}"
        elif not inside(point, elements[index].box):
            unlocatable = f"{instruction!r} leads to {elements[index].text!r}, where the action does not point"
    return {"elements_problem": problem, "unlocatable_problem": unlocatable}


def _element_problem(index: int, element: Element) -> str | None:
    name = f"element {index}, {element.role} {element.text!r}, has the"
    if len(element.box) != 4 or not all(side is not None and 0 <= side <= 1 for side in element.box):
        return f"{name} box {list(element.box)}"
    if element.box[0] > element.box[2] or element.box[1] > element.box[3]:
        return f"{name} inverted box {list(element.box)}"
    return None


def _image(image: bytes | None) -> dict[str, Any]:
    if image is None:
        return {"has_image": False, "image_problem": None}
    try:
        width, height = picture_size(image, "the image", decode=True, limit=MAX_PAGE_PIXELS)
    except Refused as error:
        return {"has_image": True, "image_problem": error.detail}
    return {"has_image": True, "image_problem": None, "image_width": width, "image_height": height}


def _across(table: pd.DataFrame) -> pd.DataFrame:
    """The columns that compare rows with each other."""
    by_trajectory = table.groupby("trajectory_id", sort=False)
    table["found_steps"] = by_trajectory["step"].transform("size")
    table["trajectory_splits"] = by_trajectory["split"].transform("nunique")
    table["shard_split"] = table["file"].str.rpartition("-")[0]
    train = table[table["split"] == "train"].groupby("task")["trajectory_id"].nunique()
    table["few_problem"] = [
        f"{train[task]} training episodes of {task!r}" if split == "train" and train[task] < MIN_EPISODES else None
        for task, split in zip(table["task"], table["split"], strict=True)
    ]
    first = table.drop_duplicates(["state", "split"]).set_index("state")
    twins = first[first.index.duplicated(keep=False)]
    named: dict[str, list[tuple[str, str]]] = {}
    for state, split, id, step in zip(twins.index, twins["split"], twins["trajectory_id"], twins["step"], strict=True):
        named.setdefault(state, []).append((split, f"step {step} of {id}"))
    table["twin_problem"] = [
        next((f"{split} has the same state: {where}" for split, where in named.get(state, ()) if split != own), None)
        for state, own in zip(table["state"], table["split"], strict=True)
    ]
    return table

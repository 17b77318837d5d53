"""AndroidControl, High and Low: one step at a time, by four published protocols that disagree.

The same model gets 71.2, 29.8 or 56.5 on AndroidControl-High by the harness; tracer/benchmarks/protocols/
android_control.yaml names each. The rules are in android_control_rules.py. Items keep the data set's own form: pixels,
and a scroll's direction as the screen's (down reveals what is further down, the finger moves up).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tracer.scoring.contract import BenchmarkError, Part, PredictionRow, Row
from tracer.trajectory import inside

SUBSPLITS = ("IDD", "app_unseen", "task_unseen", "category_unseen")


class Node(Part):
    """A node of the accessibility forest, box in pixels (left, top, right, bottom)."""

    box: list[float] = Field(min_length=4, max_length=4)
    text: str = ""
    description: str = ""


NEEDED = {
    "click": ("x", "y"),
    "long_press": ("x", "y"),
    "scroll": ("direction",),
    "open_app": ("app_name",),
    "input_text": ("text",),
    "type_text": ("x", "y", "text"),
    "status": ("goal_status",),
}


class Recorded(Part):
    """An action as the data set has it; ``type_text`` and ``status`` are UGround's (P4)."""

    action_type: Literal[
        "click", "long_press", "scroll", "open_app", "input_text", "navigate_home", "navigate_back", "wait",
        "type_text", "status",
    ]  # fmt: skip
    x: float | None = None
    y: float | None = None
    direction: Literal["up", "down", "left", "right"] | None = None
    app_name: str | None = None
    text: str | None = None
    goal_status: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        missing = [name for name in NEEDED.get(self.action_type, ()) if getattr(self, name) is None]
        if missing:
            raise ValueError(f"a {self.action_type} needs {' and '.join(missing)}")
        return self

    def fields(self) -> dict[str, Any]:
        """What the record says, without what it leaves out."""
        return self.model_dump(exclude_none=True)


class Item(Row):
    """One step. ``id`` is ``episode_<id>_screenshot_<step>``, as in OS-Atlas's list."""

    episode: int
    step: int = Field(ge=0)
    steps: int | None = Field(default=None, gt=0)
    """The episode's number of steps."""
    goal: str
    instruction: str = ""
    """The step instruction, which the Low level shows."""
    history: list[str] = Field(default_factory=list)
    image: str | None = None
    """The screenshot, relative to the items file."""
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    action: Recorded
    boxes: list[list[float]] = Field(default_factory=list)
    """Candidate boxes of the target in pixels (P3); ``candidate_boxes`` derives them."""
    nodes: list[Node] = Field(default_factory=list)
    """The screen's accessibility nodes (P4)."""
    subsplits: list[Literal["IDD", "app_unseen", "task_unseen", "category_unseen"]] = Field(default_factory=list)


class Prediction(PredictionRow):
    """``native`` is the protocol's own form: P1 the OS-Atlas action line, P2 the GUI-R1 object, P3 the ``mobile_use``
    arguments in pixels of the ``resized`` image, P4 an AndroidControl action."""

    native: str | dict[str, Any] | None = None


def read_index(path: Path) -> list[str]:
    """The ids of OS-Atlas's ``ac_idx.txt`` (7,708 steps of 1,412 episodes); raises ``BenchmarkError``."""
    ids = path.read_text(encoding="utf-8").split()
    for number, name in enumerate(ids, start=1):
        if re.fullmatch(r"episode_\d+_screenshot_\d+", name) is None:
            raise BenchmarkError(f"{path}, entry {number}: {name[:60]!r} is not an episode_<id>_screenshot_<step>")
    if len(set(ids)) != len(ids):
        raise BenchmarkError(f"{path} lists a step twice")
    return ids


def episode_items(
    episode: Mapping[str, Any],
    nodes: Sequence[Sequence[Node]] | None = None,
    subsplits: Iterable[str] = (),
    only: set[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """The items of an episode as the data set has it, one per step; ``only`` keeps the ids of a subset.

    ``episode`` holds episode_id, goal, actions (JSON texts or objects), step_instructions, screenshot_widths,
    screenshot_heights and, optionally, images (file names). ``nodes`` are each screen's accessibility nodes.
    """
    actions = [json.loads(action) if isinstance(action, str) else dict(action) for action in episode["actions"]]
    instructions = list(episode["step_instructions"])
    names = [sub for sub in SUBSPLITS if sub in set(subsplits)]
    for step, action in enumerate(actions):
        key = f"episode_{episode['episode_id']}_screenshot_{step}"
        if only is not None and key not in only:
            continue
        screen = list(nodes[step]) if nodes else []
        row = {
            "id": key,
            "episode": episode["episode_id"],
            "step": step,
            "steps": len(actions),
            "goal": episode["goal"],
            "instruction": instructions[step],
            "history": instructions[:step],
            "image": episode["images"][step] if "images" in episode else None,
            "width": episode["screenshot_widths"][step],
            "height": episode["screenshot_heights"][step],
            "action": action,
            "boxes": candidate_boxes(screen, action),
            "nodes": [node.model_dump() for node in screen],
            "subsplits": names,
        }
        Item.model_validate(row)
        yield row


def candidate_boxes(nodes: Sequence[Node], action: Mapping[str, Any], count: int = 5) -> list[list[float]]:
    """The boxes that a click may hit (P3), from the accessibility nodes.

    The recipe behind the published ``candidate_bbox`` is not public. This is AgentCPM-GUI's re-creation: the ``count``
    boxes whose centres lie nearest the recorded point. For open_app, the boxes of nodes that carry the app's name.
    """
    boxes = [node for node in nodes if node.box[2] > node.box[0] and node.box[3] > node.box[1]]
    if action["action_type"] == "open_app":
        name = str(action.get("app_name", "")).strip().lower()
        named = [n for n in boxes if name and name in (n.text.strip().lower(), n.description.strip().lower())]
        return [list(node.box) for node in named[:count]]
    if action["action_type"] not in ("click", "long_press"):
        return []
    x, y = action["x"], action["y"]

    def distance(node: Node) -> float:
        return ((node.box[0] + node.box[2]) / 2 - x) ** 2 + ((node.box[1] + node.box[3]) / 2 - y) ** 2

    return [list(node.box) for node in sorted(boxes, key=distance)[:count]]


def smallest_node(nodes: Sequence[Node], point: Sequence[float]) -> Node | None:
    """The node of the smallest area that contains the point, the first of equals (P4)."""
    holding = [node for node in nodes if inside(point, node.box)]
    return min(holding, key=lambda n: (n.box[2] - n.box[0]) * (n.box[3] - n.box[1]), default=None)

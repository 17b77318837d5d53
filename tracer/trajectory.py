"""A trajectory: a goal, and the steps taken towards it, each with the state it was taken in.

A state (what the planner sees) is the goal, the screenshot, the screen's elements where they are known, and the
steps taken so far. All boxes are (left, top, right, bottom) in fractions of the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tracer.action import Action

Box = tuple[float, float, float, float]
Point = tuple[float, float]

SPLITS = ("train", "validation", "test", "heldout")
OUTCOMES = ("success", "failure", "unknown")
TOLERANCE = 1e-6
"""Of the screen: what float arithmetic on a box's edge may lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One visible element of a screen, in reading order as its source lists them."""

    role: str
    text: str
    box: Box
    value: str = ""
    """What a field holds at present."""
    state: str = ""
    """Words such as ``checked`` or ``focused``, separated by spaces."""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Element:
        """The element of a record as ``to_dict`` writes it; what is absent or null there is empty here."""
        texts = {name: fields.get(name) or "" for name in ("role", "text", "value", "state")}
        return cls(**texts, box=tuple(fields.get("box") or ()))

    def to_dict(self) -> dict[str, Any]:
        """The element as a JSON object."""
        return {"role": self.role, "text": self.text, "box": list(self.box), "value": self.value, "state": self.state}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a trajectory: the screen before the action, the action, and what it was for."""

    action: Action
    instruction: str
    """The step instruction in words, for example ``click the button "Submit"``."""
    image: bytes | None = field(default=None, repr=False)
    """The encoded screenshot (PNG, JPEG or WebP), or None for a step without a screen."""
    width: int = 0
    height: int = 0
    elements: tuple[Element, ...] | None = None
    """The screen's elements; None where the source has no element list, () where the screen shows none."""
    target: Box | None = None
    """The box of the element the action aims at, where the source knows or a named rule derives it."""
    observation: str = ""
    """What a tool returned before this step; empty on a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """A goal and its steps. ``id`` is unique over all sources: ``source/...``."""

    id: str
    source: str
    split: str
    task: str
    """The kind of task (a MiniWoB++ page, an app, a website): what scores are broken down by."""
    goal: str
    steps: tuple[Step, ...]
    outcome: str = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the planner sees at one moment."""

    goal: str
    image: bytes | None = field(default=None, repr=False)
    width: int = 0
    height: int = 0
    elements: tuple[Element, ...] | None = None
    history: tuple[str, ...] = ()
    """The step instructions of the past steps, oldest first."""
    observation: str = ""

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], history: Iterable[str] = ()) -> State:
        """The state of a record with these names; what is absent or null there is empty here."""
        elements = fields.get("elements")
        return cls(
            goal=fields.get("goal") or "",
            image=fields.get("image"),
            width=int(fields.get("width") or 0),
            height=int(fields.get("height") or 0),
            elements=None if elements is None else tuple(map(Element.from_dict, elements)),
            history=tuple(history),
            observation=fields.get("observation") or "",
        )


def state_at(trajectory: Trajectory, index: int) -> State:
    """The state in which step ``index`` (from 0) was taken."""
    step = trajectory.steps[index]
    return State(
        goal=trajectory.goal,
        image=step.image,
        width=step.width,
        height=step.height,
        elements=step.elements,
        history=tuple(past.instruction for past in trajectory.steps[:index]),
        observation=step.observation,
    )


def inside(point: Sequence[float], box: Sequence[float]) -> bool:
    """Whether the point is in the box, its edges included."""
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def centre(box: Box) -> Point:
    """The middle of a box."""
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)


def element_at(point: Point, elements: tuple[Element, ...] | None) -> int | None:
    """The index of the smallest element that holds the point, or None: the named rule that derives a target."""
    holding = [
        ((element.box[2] - element.box[0]) * (element.box[3] - element.box[1]), index)
        for index, element in enumerate(elements or ())
        if inside(point, element.box)
    ]
    return min(holding)[1] if holding else None

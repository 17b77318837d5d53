"""GUI-Odyssey: one step of an episode, by the official metric, by OS-Atlas's script, and by GUI-R1's.

Items keep the annotation's own form: coordinates 0 to 1000, a scroll as the finger's two points. The official names
of the averages are swapped from the usual: its "micro" is the mean over the six categories, its "macro" is pooled.
Its SR is of episodes; what peers print as SR is of steps, which is the official AMS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy
from pydantic import Field, model_validator
from rapidfuzz.distance import Levenshtein

from tracer.action import Action
from tracer.benchmarks import os_atlas
from tracer.benchmarks.gui_r1 import Answer, answer_of, gui_r1_parts
from tracer.grammars.conventions import ConventionError, literal
from tracer.scoring.contract import Outcome, Part, PredictionRow, Row, Unparsable
from tracer.scoring.drivers import ScreenBenchmark
from tracer.scoring.matching import contains_either_way
from tracer.scoring.protocol import BenchmarkProtocol

PLACED = ("CLICK", "LONG_PRESS")
KEYS = {"KEY_HOME": "PRESS_HOME", "KEY_BACK": "PRESS_BACK", "KEY_APPSELECT": "PRESS_RECENT"}


class Item(Row):
    """One step of an annotation. ``id`` is ``<episode>_<step>``."""

    episode: str
    step: int = Field(ge=0)
    step_length: int = Field(gt=0)
    """The episode's number of steps."""
    category: str
    goal: str
    instruction: str = ""
    history: list[str] = Field(default_factory=list)
    image: str | None = None
    width: int = Field(default=1000, gt=0)
    height: int = Field(default=1000, gt=0)
    action: Literal["CLICK", "LONG_PRESS", "SCROLL", "TEXT", "TYPE", "COMPLETE", "INCOMPLETE"]
    info: str | list[list[float]] = ""
    box: list[float] | None = None
    """``sam2_bbox``, 0 to 1000; the first release has none."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.box is not None and len(self.box) != 4:
            raise ValueError("box has to hold four numbers; leave an empty sam2_bbox out")
        points = {"CLICK": 1, "LONG_PRESS": 1, "SCROLL": 2}.get(self.action)
        if points and not (self.action in PLACED and self.info in list(KEYS)):
            # A click's point is published twice; the first counts.
            if isinstance(self.info, str) or len(self.info) < points or any(len(pair) != 2 for pair in self.info):
                raise ValueError(f"info of a {self.action} holds {points} points; a click's may be a KEY_ name")
        elif isinstance(self.info, list) and self.action in ("TEXT", "TYPE"):
            raise ValueError("info of a TEXT is a string")
        return self


class Prediction(PredictionRow):
    """``native``: the official ``CLICK: (x, y)`` line, OS-Atlas's line, or GUI-R1's object, as the protocol has it."""

    native: str | dict[str, Any] | None = None


class Match(Part):
    """Radii and thresholds of a protocol; coordinates 0 to 1000."""

    rule: Literal["official", "os_atlas", "gui_r1"]
    radius: float
    """Official and GUI-R1: a share of the screen. OS-Atlas: of 1000."""
    text_similarity_from: float | None = None
    text_f1_above: float | None = None
    text_f1_from: float | None = None
    scroll: Literal["finger"]


def reference(item: Item) -> tuple[str, str]:
    """The step's official (action, info), for example ``("CLICK", "(512, 80)")`` or ``("PRESS_HOME", "")``."""
    if item.action in PLACED and isinstance(item.info, str):
        return KEYS[item.info], ""
    if item.action in ("TEXT", "TYPE"):
        return "TYPE", str(item.info)
    if item.action == "SCROLL":
        (x1, y1), (x2, y2) = points(item)[:2]
        return "SCROLL", scroll_direction(x2 - x1, y2 - y1).upper()
    if item.action in PLACED:
        x, y = points(item)[0]
        return item.action, f"({_plain(x)}, {_plain(y)})"
    return ("COMPLETE" if item.action == "COMPLETE" else "IMPOSSIBLE"), ""


def points(item: Item) -> list[tuple[float, float]]:
    """The points of a click (the first counts) or a scroll (two), 0 to 1000."""
    return [(float(x), float(y)) for x, y in item.info] if isinstance(item.info, list) else []


def scroll_direction(across: float, down: float) -> str:
    """The finger's direction; a tie is vertical. Source: GUI-Odyssey, decode_action."""
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "up" if down < 0 else "down"


def _plain(number: float) -> float:
    return int(number) if number.is_integer() else number


class GuiOdyssey(ScreenBenchmark):
    """GUI-Odyssey steps under one protocol."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    def __init__(self, protocol: BenchmarkProtocol) -> None:
        super().__init__(protocol)
        self._parts = {"official": self._official, "os_atlas": self._os_atlas, "gui_r1": self._gui_r1}[self.match.rule]

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one step. Raises ``Unparsable``."""
        kind = reference(item)[0]
        return Outcome(
            parts=self._parts(item, prediction),
            cluster=item.episode,
            size=item.step_length,
            stratum=item.category,
            category=kind,
            groups=(f"category={item.category}", f"type={kind}"),
        )

    def _official(self, item: Item, prediction: Prediction | None) -> dict[str, tuple[float, float]]:
        same, right = False, False
        if prediction is not None:
            same, right = official_match(self._command(prediction, item), item, self.match, self.protocol.strict)
        return {"type": (same, 1), "step": (right, 1)}

    def _command(self, prediction: Prediction, item: Item) -> str:
        if prediction.native is not None:
            if not isinstance(prediction.native, str):
                raise Unparsable(f"a command line is needed, not {str(prediction.native)[:80]!r}")
            return prediction.native
        if prediction.convention == "odyssey":
            return prediction.text or ""
        return command(prediction.read_action((item.width, item.height)), self.protocol)

    def _os_atlas(self, item: Item, prediction: Prediction | None) -> dict[str, tuple[float, float]]:
        line = "" if prediction is None else os_atlas.line(prediction, self.protocol, (item.width, item.height)).strip()
        wanted = os_atlas_line(item)
        kind = wanted.split(" ")[0]
        same = line.split(" ")[0].strip(":") == kind
        match = self.match
        right = same and os_atlas.odyssey_match(
            line, wanted, match.radius, match.text_f1_above or 0.0, self.protocol.strict
        )
        return {
            "type": (same, 1),
            "grounding": (right and kind == "CLICK", same and kind in ("CLICK", "LONG_PRESS")),
            "step": (right, 1),
        }

    def _gui_r1(self, item: Item, prediction: Prediction | None) -> dict[str, tuple[float, float]]:
        kind, info = reference(item)
        placed = kind in PLACED
        size = (item.width, item.height)
        x, y = points(item)[0] if placed else (0.0, 0.0)
        answer = Answer(
            action=kind.lower(),
            point=(x * size[0] / 1000, y * size[1] / 1000) if placed else None,
            text=info if kind in ("TYPE", "SCROLL") else "",
        )
        ours = None if prediction is None else answer_of(prediction, self.protocol, size)
        text_f1_from = self.match.text_f1_from or 0.0
        return dict(gui_r1_parts(ours, answer, size, self.match.radius, text_f1_from, self.protocol.strict))


def os_atlas_line(item: Item) -> str:
    """The step as OS-Atlas writes it."""
    kind, info = reference(item)
    if kind in PLACED:
        x, y = points(item)[0]
        return os_atlas.point_line(kind, x / 1000, y / 1000)
    return f"{kind} [{info}]" if kind in ("TYPE", "SCROLL") else kind


def command(action: Action, protocol: BenchmarkProtocol) -> str:
    """Our action as an official command line, named by the protocol's action map."""
    name = protocol.name_of(action, action.type.upper())
    if action.type in ("click", "long_press") and action.point:
        return f"{name}: ({round(action.point[0] * 1000)}, {round(action.point[1] * 1000)})"
    if action.type == "scroll":
        return f"{name}: {action.get('direction').upper()}"
    return f"{name}: {action.get('text')}" if action.type == "type" else name


def split_command(line: str) -> tuple[str, str]:
    """(action, info) of a command: the first two pieces between colons: a text ends at its colon, as in the script."""
    pieces = line.split(":")
    return pieces[0].strip(), pieces[1].strip() if len(pieces) > 1 else ""


def official_match(line: str, item: Item, match: Match, strict: bool) -> tuple[bool, bool]:
    """(same action, right) by the official script, which counts what it cannot evaluate as of the right action."""
    kind, info = split_command(line)
    wanted = reference(item)
    place: Any = info
    if kind in PLACED and ":" in line:
        try:
            place = literal(info)
        except ConventionError:
            return True, False
    if kind != wanted[0]:
        return False, False
    if kind == "TYPE":
        reference_text = split_command(f"TYPE: {wanted[1]}")[1]
        return True, text_match(info, reference_text, match.text_similarity_from or 0.0, strict)
    if kind == "SCROLL":
        return True, info.lower() == wanted[1].lower()
    return True, kind not in PLACED or near(place, points(item)[0], item.box, match.radius)


def near(place: Any, wanted: tuple[float, float], box: list[float] | None, radius: float) -> bool:
    """In the box, or within the radius as numpy reckons it: also a nested point, or one number for both axes.

    A place in quotes is read once more. What neither the box nor numpy takes is far.
    """
    try:
        place = literal(place.strip()) if isinstance(place, str) else place
        if box is not None and box[0] <= place[0] <= box[2] and box[1] <= place[1] <= box[3]:
            return True
        with numpy.errstate(all="ignore"):
            return bool(numpy.linalg.norm(numpy.asarray(place) / 1000 - numpy.asarray(wanted) / 1000) <= radius)
    except (ConventionError, ArithmeticError, LookupError, TypeError, ValueError):
        return False


def text_match(ours: str, theirs: str, similarity_from: float, strict: bool) -> bool:
    """One contains the other, or 1 - Levenshtein distance / longer length reaches the threshold."""
    if contains_either_way(ours, theirs, strict):
        return True
    longer = max(len(ours), len(theirs))
    return 1 - Levenshtein.distance(ours, theirs) / longer >= similarity_from


def annotation_items(annotation: Mapping[str, Any], low: bool = False) -> Iterator[dict[str, Any]]:
    """The items of one annotation file of either release, one per step."""
    info = annotation["task_info"]
    said = [str(step.get("low_level_instruction", "")) for step in annotation["steps"]]
    for index, step in enumerate(annotation["steps"]):
        row = {
            "id": f"{annotation['episode_id']}_{step['step']}",
            "episode": str(annotation["episode_id"]),
            "step": step["step"],
            "step_length": annotation["step_length"],
            "category": info["category"],
            "goal": info["instruction"],
            "instruction": said[index] if low else "",
            "history": said[:index],
            "image": step["screenshot"],
            "width": annotation["device_info"]["w"],
            "height": annotation["device_info"]["h"],
            "action": step["action"],
            "info": step["info"],
            "box": list(step["sam2_bbox"]) if step.get("sam2_bbox") else None,
        }
        Item.model_validate(row)
        yield row

"""Traces: what an agent saw, forecast and did, turn by turn, kept for people to look at and never scored.

``logs/traces.jsonl`` of an online evaluation has an episode a line: who played what, how it ended, and its turns
(screen, prompt, raw answer, forecast, chosen step, executed action, outcome, calls, tokens, seconds). ``logs/screens``
has the screens, each picture once, named by its digest. Seconds and pixels differ from run to run, so a trace is no
result: ``logs`` is not part of a folder's digest.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tracer import json_lines
from tracer.agents.agent import Decision
from tracer.json_files import DamagedFile, write_whole
from tracer.trajectory import State

FORMAT = "tracer-trace/1"
TRACES = Path("logs") / "traces.jsonl"
SCREENS = Path("logs") / "screens"
LARGE = 64 * 2**10
"""Bytes above which a screen is kept as a lossy picture, at most ``WIDEST`` pixels wide or high."""
WIDEST = 1280
QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of an episode: a state, and what was made of it."""

    state: State
    decision: Decision
    seconds: float
    """Wall-clock seconds from the turn before to the end of this one, the wait for the planner's batch included."""
    outcome: str
    """Why the episode ended with this turn; empty where it goes on."""
    changed: bool
    """Whether the screen looks different afterwards: its elements or, where it has no list of them, its pixels."""


def first_wrong(turns: Sequence[Turn]) -> int:
    """The turn, counted from 1, at which a failed episode went wrong as far as it shows.

    It is the first that changed nothing, or else the last.
    """
    return next((number for number, turn in enumerate(turns, start=1) if not turn.changed), len(turns))


def episodes(folder: Path) -> list[dict[str, Any]]:
    """A folder's traced episodes; of two with the same id, the later counts, and a line that is being written does not.

    Raises ``DamagedFile``, and ``FileNotFoundError`` where there is no trace.
    """
    path = folder / TRACES
    with open(path, "rb") as file:
        found = (parsed(line, path) for line in file if line.endswith(b"\n"))
        return list({row["id"]: row for row in found}.values())


def parsed(line: bytes, path: Path) -> dict[str, Any]:
    """The episode of a line; raises ``DamagedFile``, also for a screen that is not one of the folder's."""
    try:
        row: dict[str, Any] = orjson.loads(line)
        screens = [turn["screen"] or "" for turn in row["turns"]]
        if not isinstance(row["id"], str) or any(Path(name).name != name for name in screens):
            raise ValueError("an episode has no id, or a screen from elsewhere")
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedFile(path, error) from error
    return row


class TraceLog:
    """Appends episodes to a folder's trace."""

    def __init__(self, folder: Path, screens: bool) -> None:
        """``screens``: whether the pictures are kept too. What a kill tore off the file is cut from it."""
        self.path = folder / TRACES
        self.screens = folder / SCREENS if screens else None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        json_lines.take_up(self.path)

    def add(self, row: Mapping[str, Any], turns: Sequence[Turn]) -> None:
        """Append an episode: its result row and its turns. Of two with the same id, the later one counts."""
        found = {"format": FORMAT, **row, "turns": [self._turn(turn) for turn in turns]}
        with open(self.path, "ab") as file:
            file.write(json_lines.one(found))

    def _turn(self, turn: Turn) -> dict[str, Any]:
        decision, state = turn.decision, turn.state
        plan = decision.plan
        steps = plan.forecast or () if plan else ()
        return {
            "screen": self._screen(state),
            "width": state.width,
            "height": state.height,
            "prompt": plan.prompt if plan else "",
            "answer": plan.text if plan else "",
            "error": plan.error if plan else "",
            "forecast": [{"instruction": step.instruction, "action": step.action.to_dict()} for step in steps],
            "chosen": next((index for index, step in enumerate(steps) if step is decision.step), None),
            "step": decision.step.instruction if decision.step else None,
            "action": decision.action.to_dict() if decision.action else None,
            "outcome": turn.outcome,
            "changed": turn.changed,
            "note": decision.note,
            "calls": decision.calls,
            "tokens": decision.tokens,
            "seconds": round(turn.seconds, 3),
        }

    def _screen(self, state: State) -> str | None:
        if self.screens is None or state.image is None:
            return None
        self.screens.mkdir(exist_ok=True)
        path = self.screens / f"{hashlib.sha256(state.image).hexdigest()[:24]}.webp"
        if not path.is_file():
            write_whole(path, small(state.image))  # under its digest it is never written again
        return path.name


def small(picture: bytes) -> bytes:
    """A picture as WebP: as it is if it is small, or else lossy and brought down."""
    from PIL import Image

    if len(picture) <= LARGE and picture[8:12] == b"WEBP":
        return picture
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as opened:
        shown = opened.convert("RGB")
        if len(picture) <= LARGE:
            shown.save(out, "WEBP", lossless=True)
        else:
            shown.thumbnail((WIDEST, WIDEST))
            shown.save(out, "WEBP", quality=QUALITY)
    return out.getvalue()

"""Episodes as films: what an agent saw, forecast and did, turn by turn, and which of it came true.

An online episode is a film of its trace. Recorded states are films too: those of a trajectory, each with a planner's
forecast beside what was really done. A film is read only when somebody looks at it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tracer import json_lines
from tracer.dataset import find
from tracer.evaluation.online import ended
from tracer.evaluation.results import RESULTS
from tracer.evaluation.traces import SCREENS, TRACES, parsed, small
from tracer.examples import Example, examples
from tracer.forecast import Forecast, ForecastStep
from tracer.grammars.grammar import grammar
from tracer.json_files import DamagedFile
from tracer.lineage.digest import LineageError, begun, finished
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import prompt
from tracer.reporting.links import film_id
from tracer.reporting.traced import expected, forecast_step
from tracer.reward import RewardConfig, sameness, trajectory_reward

SAME = 0.999
"""The sameness from which a step that was executed is the one that was forecast."""
SHORT = 160
"""Characters of a goal in the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A film: its turns as a JSON object, and their screens by the names that they have in it."""

    document: dict[str, Any]
    pictures: Mapping[str, bytes]


class Reel(Protocol):
    """The films of one folder."""

    def entries(self) -> list[dict[str, Any]]:
        """What the list shows of each film, in order."""

    def film(self, number: int) -> Film:
        """One of them."""


class Played:
    """The online episodes of a folder, finished or not. One without a trace, as of older code, has an outcome alone."""

    def __init__(self, folder: Path, planner: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.folder = folder
        self.planner = planner
        self.rows = rows

    def entries(self) -> list[dict[str, Any]]:
        """An entry an episode."""
        return [
            {
                "id": film_id("online", self.planner, row["id"]),
                "kind": "online",
                "planner": self.planner,
                "agent": row["strategy"],
                "task": row["task"],
                "split": row["split"],
                "case": row["id"],
                "verdict": ended(row["reason"]),
                "wrong": row.get("first_wrong"),
                "turns": row["steps"],
                "goal": row["goal"][:SHORT],
            }
            for row in self.rows
        ]

    def film(self, number: int) -> Film:
        """The trace of an episode, each forecast held to what was executed later."""
        row = self.rows[number]
        trace = self._trace(row["id"])
        turns = trace["turns"]
        executed = [forecast_step(turn["step"], turn["action"]) if turn["action"] else None for turn in turns]
        shown = []
        for index, turn in enumerate(turns):
            steps = expected(turn)
            came = _came_true(steps, turn["chosen"] or 0, executed[index:])
            done = executed[index]
            kept = [name for name in turn if name not in ("forecast", "step", "action")]
            shown.append(
                {name: turn[name] for name in kept}
                | {
                    "number": index + 1,
                    "steps": list(map(_line, steps, came)),
                    "executed": _line(done) if done else None,
                }
            )
        names = {turn["screen"] for turn in turns} - {None}
        pictures = {name: (self.folder / SCREENS / name).read_bytes() for name in sorted(names)}
        return Film(document={"goal": row["goal"], "reason": row["reason"], "turns": shown}, pictures=pictures)

    def _trace(self, episode: str) -> dict[str, Any]:
        if episode not in self._offsets:
            return {"turns": []}
        with open(self.folder / TRACES, "rb") as file:
            file.seek(self._offsets[episode])
            return parsed(file.readline(), self.folder / TRACES)

    @cached_property
    def _offsets(self) -> dict[str, int]:
        """Where each episode's line begins; of two lines of one, the later."""
        path, at = self.folder / TRACES, 0
        found: dict[str, int] = {}
        if not path.is_file():
            return {}
        with open(path, "rb") as file:
            for line in file:
                if line.endswith(b"\n"):  # else it is being written
                    try:
                        found[_identity.decode(line).id] = at
                    except msgspec.MsgspecError as error:
                        raise DamagedFile(path, error) from error
                at += len(line)
        return found


class Recorded:
    """The evaluated states of a folder, a film a trajectory."""

    def __init__(self, folder: Path, planner: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.folder = folder
        self.planner = planner
        self.cases: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            self.cases.setdefault(row["trajectory"], []).append(row)

    def entries(self) -> list[dict[str, Any]]:
        """An entry a trajectory: right if every first step is."""
        return [
            {
                "id": film_id("recorded", self.planner, case),
                "kind": "recorded",
                "planner": self.planner,
                "agent": "",
                "task": rows[0]["task"],
                "split": rows[0]["split"],
                "case": case,
                "verdict": "right" if all(row["step"] for row in rows) else "wrong",
                "wrong": next((row["step_index"] + 1 for row in rows if not row["step"]), None),
                "turns": len(rows),
                "goal": "",
            }
            for case, rows in self.cases.items()
        ]

    def film(self, number: int) -> Film:
        """The states of a trajectory with their forecasts. Raises ``LineageError`` where the data is gone."""
        case, rows = list(self.cases.items())[number]
        where = Path(self._made["inputs"]["trajectories"]["path"])
        where = where if where.is_dir() else self.folder.parent / where.name  # a run that was copied here
        trajectory = find(where, case, rows[0]["split"]) if where.is_dir() else None
        if trajectory is None:
            raise LineageError(f"{where} does not contain {case}, which {self.folder} is about: ingest it again")
        every = list(examples([trajectory], self._settings.horizon))
        pictures: dict[str, bytes] = {}
        turns = [self._turn(every[row["step_index"]], row, pictures) for row in rows]
        found = {"goal": trajectory.goal, "reason": "", "turns": turns, "states": len(every)}
        return Film(document=found, pictures=pictures)

    def _turn(self, found: Example, row: Mapping[str, Any], pictures: dict[str, bytes]) -> dict[str, Any]:
        state, settings = found.state, self._settings
        screen = None
        if state.image is not None:
            screen = f"{hashlib.sha256(state.image).hexdigest()[:24]}.webp"
            pictures[screen] = small(state.image)
        forecast = grammar(settings.grammar, settings.parse).read(row["text"], state, settings.horizon).forecast or ()
        right = dict(enumerate(row["right"]))
        first = found.reference[0]
        return {
            "screen": screen,
            "width": state.width,
            "height": state.height,
            "number": found.step + 1,
            "prompt": prompt(state, settings),
            "answer": row["text"],
            "error": row["error"],
            "steps": [_line(step, right.get(index)) for index, step in enumerate(forecast)],
            "chosen": 0 if forecast else None,
            "executed": _line(forecast_step(forecast[0].instruction, row["executed"])) if row["executed"] else None,
            "outcome": "right" if row["step"] else "wrong",
            "changed": True,
            "reference": [_line(step) for step in found.reference],
            "target": first.target,
            "reward": self._reward(forecast, found.reference),
            "scores": {name: row[name] for name in ("similarity", "prefix", "remaining") if name in row},
        }

    def _reward(self, forecast: Forecast, reference: Forecast) -> dict[str, Any]:
        """The stage-1 reward in its terms."""
        earned = trajectory_reward(forecast, reference, self._rules)
        return {
            "parts": {"total": earned.total, "alignment": earned.align, "repetition": -earned.repetition},
            "steps": [asdict(step) for step in earned.steps],
        }

    @cached_property
    def _made(self) -> Mapping[str, Any]:
        made = finished(self.folder) or begun(self.folder)
        if made is None:
            raise LineageError(f"{self.folder} has no lineage: what its forecasts were made from is not known")
        return made

    @cached_property
    def _settings(self) -> PlannerSettings:
        given = self._made["config"]["planner"]
        names = {each.name for each in fields(PlannerSettings)} & given.keys()
        return PlannerSettings(**{name: given[name] for name in names})

    @cached_property
    def _rules(self) -> RewardConfig:
        return RewardConfig(**self._made["config"]["reward"])


def reels(folders: Sequence[Path]) -> Iterator[Reel]:
    """The films of runs (folders of steps) and of single steps; what is not evaluated, or has no row yet, has none."""
    for root in folders:
        one = _rows(root)
        for folder in [root] if one else sorted(path for path in root.iterdir() if path.is_dir()):
            rows = one or _rows(folder)
            planner = folder.name.removeprefix("online-").removeprefix("evaluate-")
            name = f"{root.name}/{planner}" if len(folders) > 1 and folder != root else planner
            if rows and "strategy" in rows[0]:
                yield Played(folder, name, rows)
            elif rows and "step_index" in rows[0]:
                yield Recorded(folder, name, rows)


def _rows(folder: Path) -> list[dict[str, Any]]:
    """The result rows of a folder; of an unfinished one those that are there so far."""
    written, growing = folder / RESULTS, folder / "checkpoints" / RESULTS
    if written.is_file():
        return json_lines.read(written)
    whole = growing.read_bytes().splitlines(keepends=True) if growing.is_file() else []
    return [msgspec.json.decode(line) for line in whole if line.endswith(b"\n")]


def _line(step: ForecastStep, came: bool | None = None) -> dict[str, Any]:
    """A step as the page shows it; ``came`` says whether it came true, None where that cannot be known."""
    return {"text": step.instruction, "point": step.action.point, "action": step.action.to_json(), "came": came}


def _came_true(
    steps: Sequence[ForecastStep], chosen: int, executed: Sequence[ForecastStep | None]
) -> Iterator[bool | None]:
    """Whether each step of a forecast is what was executed in its turn; None where the episode has no such turn.

    The step ``chosen`` was executed in this turn; those that a check skipped before it have none.
    """
    for index, step in enumerate(steps):
        really = executed[index - chosen] if chosen <= index < chosen + len(executed) else None
        yield None if really is None else _same(step, really)


def _same(step: ForecastStep, really: ForecastStep) -> bool:
    kind = step.action.type == really.action.type
    return kind and (step.instruction == really.instruction or sameness(step, really) >= SAME)


class _Identity(msgspec.Struct):
    id: str


_identity = msgspec.json.Decoder(_Identity)

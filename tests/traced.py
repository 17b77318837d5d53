"""Folders of evaluations for tests of what people watch: online episodes with their traces, and recorded states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.episodes import picture
from tests.forecasts import SCREEN, Oracle, click, elements, shards
from tracer import json_lines
from tracer.agents.agent import Decision
from tracer.config import Config
from tracer.evaluation import offline
from tracer.evaluation.episodes import Episode, _row
from tracer.evaluation.results import RESULTS
from tracer.evaluation.traces import TraceLog, Turn
from tracer.forecast import Forecast
from tracer.lineage.step import run_step
from tracer.planner.plan import Plan
from tracer.registry import spans
from tracer.trajectory import State, Trajectory

CONFIG = Config(profile="demo", seed=3, planner={"horizon": 3}, evaluation={"resamples": 50, "episodes": 2})


def turn(goal: str, forecast: Forecast, number: int, *, text: str = "answer", changed: bool = True, outcome: str = ""):
    """A turn that executes the first step of a forecast on a screen of its own."""
    shown = State(
        goal=goal,
        image=picture(f"{goal[:9]} {number}"),
        width=160,
        height=210,
        elements=SCREEN if changed else elements(),
    )
    plan = Plan(text=text, prompt=f"goal {goal}", forecast=forecast or None, error="" if forecast else "unknown action")
    first = forecast[0] if forecast else None
    decision = Decision(action=first.action if first else None, step=first, plan=plan, calls=1, tokens=7)
    return Turn(state=shown, decision=decision, seconds=0.25, outcome=outcome, changed=changed)


def turns(goal: str, solved: bool, text: str = "answer") -> list[Turn]:
    """Three turns: the second forecast no longer expects what the first did, and the last one ends the episode."""
    forecasts = [
        (click("One"), click("Two"), click("Send")),
        (click("Two"), click("One")),
        (click("Send"),) if solved else (),
    ]
    ends = ["", "", "solved" if solved else "unparsable: unknown action"]
    return [
        turn(goal, forecast, number, text=text, outcome=end)
        for number, (forecast, end) in enumerate(zip(forecasts, ends, strict=True))
    ]


def played(
    out: Path, episodes: Sequence[Episode], solved: Callable[[int], bool], goal: str = "Click One", text: str = "answer"
) -> Path:
    """The folder of an online evaluation, unfinished as far as its lineage goes."""
    out.mkdir(parents=True)
    log, rows = TraceLog(out, screens=True), []
    for number, episode in enumerate(episodes):
        found = turns(goal, solved(number), text)
        rows.append(_row(episode, found[-1].outcome, goal, found))
        log.add(rows[-1], found)
    json_lines.write(out / RESULTS, rows)
    return out


def evaluated(root: Path, known: Sequence[Trajectory], planners: dict[str, float]) -> dict[str, Path]:
    """Shards and, for each planner, its evaluation on them; a planner is right in that share of the steps."""

    def step(name: str, out: Path, inputs: dict[str, Path], body: Callable[[Path], dict[str, Any]]) -> Path:
        config = CONFIG.model_dump(mode="json", include={"planner", "reward", "grounding"})
        run_step(name, config={**config, "out": out.name}, inputs=inputs, out=out, module=offline.__name__, body=body)
        return out

    data = step("ingest", root / "ingest", {}, lambda out: {"shards": len(shards(out, known).name)})
    found = {"ingest": data}
    for name, right in planners.items():
        oracle = Oracle(known, right=right, parsed=0.9)
        found[name] = step(
            "evaluate", root / f"evaluate-{name}", {"trajectories": data},
            lambda out, oracle=oracle: offline.run(CONFIG, data, oracle, out, offline.SPLITS),
        )  # fmt: skip
    return found


def logged(client: Any, run_id: str, folder: Path) -> dict[str, Any]:
    """Log three episodes with a run of MLflow's; its traces as ``found`` gives them."""
    episodes = [Episode(strategy="anticipatory", task="page", split="test", seed=seed) for seed in range(3)]
    experiment_id = client.get_run(run_id).info.experiment_id
    logged = spans.log_traces(experiment_id, run_id, played(folder, episodes, lambda number: number == 1), {})
    traces = found(client, run_id)
    assert logged == len(traces) == 3
    return traces


def found(client: Any, run_id: str) -> dict[str, Any]:
    """The traces of a run by their ids, without the place of their files."""
    traces = client.search_traces(locations=[client.get_run(run_id).info.experiment_id], run_id=run_id)
    kept = {trace.info.trace_id: trace.to_dict() for trace in traces}
    for trace in kept.values():
        del trace["info"]["tags"]["mlflow.artifactLocation"]
    return kept

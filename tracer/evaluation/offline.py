"""The step ``evaluate``: forecasts on held-out states, compared with what was really done.

``results.jsonl`` has a row per state, ``scores.json`` the means with 95 % intervals (bootstrap over trajectories) a
split and a task. ``tracer/evaluation/scoring.py`` defines every number.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tracer import json_lines, tools
from tracer import planner as planners
from tracer.config import Config
from tracer.dataset import read
from tracer.evaluation.results import RESULTS, SCORES, Row, interval, summary
from tracer.evaluation.scoring import METRICS, score
from tracer.examples import Example, chunks, examples
from tracer.json_files import write_json
from tracer.lineage.digest import digest_of
from tracer.lineage.step import run_step
from tracer.planner.plan import Plan, Planner
from tracer.threads import side_by_side
from tracer.tools.execution import Executors
from tracer.tools.tool_agent import ToolAgent

SPLITS = ("test", "heldout")
CHUNK = 256
"""States that are forecast, and kept after a kill, together."""
PROTOCOL = {"name": "tracer-offline", "version": 1}
REMAINING = {"1 to 2": range(1, 3), "3 to 5": range(3, 6), "6 to 10": range(6, 11), "over 10": range(11, sys.maxsize)}
"""How many steps a trajectory still takes, in groups: planning ahead should pay where many are left."""
BY_REMAINING = ("step", "similarity", "prefix_share")


def evaluate(config: Config, trajectories: Path, model: Path, out: Path) -> dict[str, Any]:
    """Score the planner in ``model`` on the held-out states into ``out``; return the lineage."""

    def body(folder: Path) -> dict[str, Any]:
        return run(config, trajectories, planners.load(model, config.planner.constrain), folder, SPLITS)

    return run_step(out=out, body=body, **recipe(config, trajectories, model))


def recipe(config: Config, trajectories: Path, model: Path) -> dict[str, Any]:
    """What the digest of an offline evaluation is made of, as ``run_step`` takes it."""
    return {
        "name": "evaluate",
        "config": {
            "planner": config.planner.model_dump(exclude={"base", "max_prompt_tokens"}),
            "reward": config.reward.model_dump(),
            "grounding": config.grounding.model_dump(),
            **tools.identities(config.grounding),
            "evaluation": config.evaluation.model_dump(include={"max_states", "resamples"}),
        },
        "inputs": {"trajectories": trajectories, "model": model},
        "module": __name__,
        "plugins": [planners.module(model), *tools.plugins_of(config.grounding)],
        "seed": config.seed,
    }


def run(config: Config, trajectories: Path, planner: Planner, out: Path, splits: Sequence[str]) -> dict[str, Any]:
    """Forecast and score every case, resuming where a kill left off; the headline metrics."""
    agent, executors = tools.load(config.grounding), Executors(config.grounding.executors)
    sampled = {split: sample(trajectories, split, config.evaluation.max_states, config.seed) for split in splits}
    progress = out / "checkpoints" / RESULTS
    progress.parent.mkdir(exist_ok=True)
    # Whole chunks: a planner's rounding may depend on what else is in a batch, so batches stay as they were.
    rows = json_lines.take_up(progress, CHUNK)
    horizon = config.planner.horizon
    every = (each for split, keys in sampled.items() for each in selected(trajectories, split, keys, horizon))
    for chunk in chunks(itertools.islice(every, len(rows), None), CHUNK):
        plans = planner.forecast([case.state for case in chunk], config.planner.horizon)
        scored = side_by_side(tools.together(config.grounding), partial(_row, config, agent, executors), chunk, plans)
        with open(progress, "ab") as file:
            file.writelines(map(json_lines.one, scored))
        rows += scored
    json_lines.write(out / RESULTS, rows)
    scores = {
        "protocol": {
            **PROTOCOL,
            "grounding": config.grounding.model_dump(),
            "horizon": config.planner.horizon,
            "constrained": config.planner.constrain != "off",
            "cases": digest_of([[row["trajectory"], row["step_index"]] for row in rows]),
        },
        "splits": summary(rows, tuple(METRICS), config.evaluation.resamples, counts),
        "calibration": calibration(rows, config.evaluation.resamples),
        "remaining": by_remaining(rows, config.evaluation.resamples),
    }
    write_json(out / SCORES, scores)
    return headline(scores["splits"])


def calibration(rows: Sequence[Row], resamples: int) -> dict[str, list[dict[str, Any]]]:
    """Per split: how often step 1, 2, ... T of a forecast comes true, over the states whose reference has that step."""
    found: dict[str, list[dict[str, Any]]] = {}
    for split in dict.fromkeys(row["split"] for row in rows):
        chosen = [row for row in rows if row["split"] == split]
        found[split] = []
        for step in range(max(len(row["right"]) for row in chosen)):
            reached = [{**row, "true": row["right"][step]} for row in chosen if len(row["right"]) > step]
            found[split].append(interval(reached, "true", resamples).to_dict())
    return found


def by_remaining(rows: Sequence[Row], resamples: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Per split and number of steps that the trajectory still takes: the metrics ``BY_REMAINING``."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for split in dict.fromkeys(row["split"] for row in rows):
        for name, steps in REMAINING.items():
            chosen = [row for row in rows if row["split"] == split and row["remaining"] in steps]
            scores = {metric: interval(chosen, metric, resamples).to_dict() for metric in BY_REMAINING}
            found.setdefault(split, {})[name] = scores
    return found


def headline(splits: dict[str, Any]) -> dict[str, Any]:
    """The means, flat: ``{"test_step": 0.61, ...}``, and the number of states."""
    flat: dict[str, Any] = {}
    for split, block in splits.items():
        flat[f"{split}_states"] = block["counts"]["states"]
        flat |= {f"{split}_{name}": value["mean"] for name, value in block["metrics"].items()}
    return flat


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many states there are, and how many were unparsable, had a place or could not be grounded."""
    return {
        "states": len(rows),
        "trajectories": len({row["trajectory"] for row in rows}),
        "unparsable": sum(not row["parsed"] for row in rows),
        "with_place": sum(row["grounding"] is not None for row in rows),
        "not_grounded": sum(row["parsed"] == 1 and row["executed"] is None for row in rows),
    }


def sample(trajectories: Path, split: str, most: int | None, seed: int) -> list[tuple[str, int]]:
    """The states of a split in the order of its shards: all, or ``most`` sampled with the seed without replacement."""
    every = [
        (trajectory.id, step)
        for trajectory in read(trajectories, split=split, columns=())
        for step in range(len(trajectory.steps))
    ]
    if most is None or most >= len(every):
        return every
    chosen = sorted(random.Random(f"{seed}/{split}").sample(range(len(every)), most))
    return [every[index] for index in chosen]


def selected(trajectories: Path, split: str, sampled: Sequence[tuple[str, int]], horizon: int) -> Iterator[Example]:
    """The sampled states with their screens, streamed from the shards."""
    wanted = set(sampled)
    return (each for each in examples(read(trajectories, split=split), horizon) if each.key in wanted)


def _row(config: Config, agent: ToolAgent, executors: Executors, case: Example, plan: Plan) -> dict[str, Any]:
    executed = agent.ground(case.state, plan.forecast[0]) if plan.forecast else None
    scored = score(plan, executed, case.reference, config.reward, config.grounding.radius)
    achieved = executors.reward(case, executed)
    return {
        "trajectory": case.trajectory,
        "step_index": case.step,
        "task": case.task,
        "split": case.split,
        "text": plan.text,
        "error": plan.error,
        "forecast": [step.instruction for step in plan.forecast or ()],
        "reference": [step.instruction for step in case.reference],
        "remaining": case.remaining,
        "executed": executed.to_dict() if executed else None,
        **scored.to_dict(),
        **({} if achieved is None else {"step": achieved, "step_own": achieved}),
    }

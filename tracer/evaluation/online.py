"""The step ``online``: the plan-act loop in real Chromium, on the pages that stage 1 and 2 trained on (unseen seeds)
and on pages that nothing was ever trained on, by each of ``evaluation.strategies``.

``results.jsonl`` has a row per episode, ``scores.json`` the task success and the cost of each strategy with 95 %
intervals (bootstrap over episodes). With ``evaluation.online_repeats`` the same episodes are played again, into
``repeats.jsonl``, and each run's success stands beside the interval. ``logs`` has the traces (``traces.py``), which
``tracer view`` shows. Where nothing is played, as Chromium or MiniWoB++ is missing, the data has none of its tasks or
the configuration says so, ``scores.json`` gives the reason alone.
Scores are the page's raw outcome: no time limit, no decay. Pixels of one seed can differ slightly from run to run,
and some pages answer at random times, so that an online score is repeatable only up to its interval.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from tracer import json_lines, plugins, tools
from tracer import planner as planners
from tracer.agents.agent import Agent
from tracer.config import Config
from tracer.dataset import batches, shards
from tracer.environments.environment import World
from tracer.evaluation.episodes import Episode, Limits, play
from tracer.evaluation.results import RESULTS, SCORES, Row, difference, summary
from tracer.evaluation.traces import TraceLog, Turn
from tracer.json_files import write_json
from tracer.lineage.digest import digest_of
from tracer.lineage.step import run_step
from tracer.planner.plan import Planner

SLOTS = 12
"""Pages open at once, whose states are forecast together: the planner's batch."""
PROTOCOL = {"name": "tracer-miniwob", "version": 3}
ENDS = {"solved": "solved", "failed": "failed", "unparsable": "unparsable", "not_grounded": "the tool agent",
        "impossible": "impossible"}  # fmt: skip
"""How episodes end, with the first words of their reasons."""
REPEATS = "repeats.jsonl"
ONLINE_METRICS = ("success", "steps", "calls", "tokens")


def evaluate(config: Config, model: Path, out: Path, trajectories: Path | None = None) -> dict[str, Any]:
    """Play the planner in ``model`` into ``out``; return the lineage.

    Nothing is played where the data, ``trajectories``, is ``foreign`` to the environment.
    """
    other = foreign(config, trajectories)
    config = _unplayed(config) if other else config
    missing = other or playable(config)[1]

    def body(folder: Path) -> dict[str, Any]:
        return skip(folder, missing) if missing else run(config, model, folder)

    return run_step(out=out, body=body, **recipe(config, model))


def foreign(config: Config, trajectories: Path | None) -> str:
    """Why episodes say nothing about a planner of this data: none of it is of the environment's tasks. Else empty.

    An environment that ``evaluation.environment`` names is played in any case: somebody chose it.
    """
    chosen = "environment" in config.evaluation.model_fields_set
    if chosen or not config.evaluation.online or trajectories is None or not trajectories.is_dir():
        return ""
    played = {task for tasks in load_world(config).tasks.values() for task in tasks}
    read = (batch for shard in shards(trajectories) for batch in batches(shard, ["task"]))
    found = {task for batch in read for task in batch.column("task").to_pylist()}
    if found & played:
        return ""
    world, some = config.evaluation.environment, ", ".join(sorted(found)[:3])
    return (
        f"the data has no task of the environment {world!r}, but {some}{' and others' if len(found) > 3 else ''}; "
        f"set evaluation.environment to one of your own (docs/plugins.md), or to {world} to play it all the same"
    )


def playing(config: Config, planner: str) -> Config:
    """The configuration for this planner, which may be one that is not evaluated online."""
    return _unplayed(config) if planner in config.evaluation.unplayed else config


def _unplayed(config: Config) -> Config:
    return config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"online": False})})


def playable(config: Config) -> tuple[str, str]:
    """What the world's scores depend on, such as a browser's version; and why it cannot be played, if so."""
    if not config.evaluation.online:
        return "", "evaluation.online is false, or evaluation.unplayed names the planner"
    return load_world(config).version()


def recipe(config: Config, model: Path, trajectories: Path | None = None) -> dict[str, Any]:
    """What the digest of an online evaluation is made of, as ``run_step`` takes it."""
    if foreign(config, trajectories):
        config = _unplayed(config)
    return {
        "name": "online",
        "config": {
            "planner": config.planner.model_dump(exclude={"base", "max_prompt_tokens"}),
            "grounding": config.grounding.model_dump(),
            "evaluation": config.evaluation.model_dump(mode="json", exclude={"max_states", "unplayed", "screens"}),
            "pages": {split: list(tasks) for split, tasks in load_world(config).tasks.items()},
            # Another browser is another environment, and one installed later is a reason to run again.
            "browser": playable(config)[0],
        },
        "inputs": {"model": model},
        "module": __name__,
        "plugins": [
            planners.module(model),
            plugins.module_of(plugins.TOOLS, config.grounding.agent),
            plugins.module_of(plugins.ENVIRONMENTS, config.evaluation.environment),
            *(plugins.module_of(plugins.AGENTS, name) for name in config.evaluation.strategies),
        ],
        "seed": config.seed,
    }


def load_world(config: Config, folder: Path | None = None) -> World:
    """The world that ``evaluation.environment`` names; it may write results of its own into the folder."""
    world: World = plugins.load(plugins.ENVIRONMENTS, config.evaluation.environment)()
    world.folder = folder
    return world


def skip(out: Path, reason: str) -> dict[str, Any]:
    """Write down why nothing was played; the headline metrics."""
    write_json(out / SCORES, {"skipped": reason})
    return {"skipped": reason}


def run(config: Config, model: Path, out: Path) -> dict[str, Any]:
    """Play every episode that has not been played yet; the headline metrics. Raises ``Unplayed``."""
    progress = out / "checkpoints" / RESULTS
    progress.parent.mkdir(exist_ok=True)
    every = list(episodes(config))
    done = {row["id"]: row for row in json_lines.take_up(progress)}
    left = [episode for episode in every if episode.id not in done]
    if left:
        log = TraceLog(out, config.evaluation.screens)
        with open(progress, "ab") as file:
            for row, turns in play_all(config, left, planners.load(model, config.planner.constrain), out):
                log.add(row, turns)  # before the row: a kill between the two plays and logs the episode again
                done[row["id"]] = row
                file.write(json_lines.one(row))
                file.flush()
    rows = [done[episode.id] for episode in every]
    json_lines.write(out / RESULTS, [row for row in rows if not row["run"]])
    json_lines.write(out / REPEATS, [row for row in rows if row["run"]])
    scores = score(config, rows)
    write_json(out / SCORES, scores)
    return {
        f"{strategy}_{split}": block["metrics"]["success"]["mean"]
        for strategy, splits in scores["strategies"].items()
        for split, block in splits.items()
    }


def episodes(config: Config) -> Iterator[Episode]:
    """The episodes in the order of the results, run by run: every strategy meets the same pages and seeds."""
    first = config.evaluation.first_seed
    for run, strategy in itertools.product(range(config.evaluation.online_repeats), config.evaluation.strategies):
        for split, tasks in load_world(config).tasks.items():
            for task in tasks:
                for seed in range(first, first + config.evaluation.episodes):
                    yield Episode(strategy=strategy, task=task, split=split, seed=seed, run=run)


def play_all(
    config: Config, wanted: Sequence[Episode], planner: Planner, folder: Path | None = None
) -> Iterator[tuple[dict[str, Any], list[Turn]]]:
    """Play the episodes in the configured world; a row and the turns as each ends. Raises ``Unplayed``."""
    slots = min(SLOTS, load_world(config).slots or SLOTS)
    limits = Limits(slots=slots, max_steps=config.evaluation.max_steps)
    yield from play(wanted, planner, lambda: load_world(config, folder), agents(config), limits)


def agents(config: Config) -> Callable[[str], Agent]:
    """What makes an agent of a strategy, for one episode."""
    agent_tools = tools.load(config.grounding)

    def agent(strategy: str) -> Agent:
        made = plugins.load(plugins.AGENTS, strategy)
        chosen = config.evaluation
        options = {"check": chosen.consistency, "retries": chosen.retries, "budget": chosen.budget}
        fresh: Agent = made(agent_tools, config.planner.horizon, **options)
        return fresh

    return agent


def score(config: Config, rows: Sequence[Row]) -> dict[str, Any]:
    """Success, steps and cost of each strategy, and the first one's paired differences to the others, in the first run;
    and each run's success, where there are several."""
    resamples, world = config.evaluation.resamples, load_world(config)
    first, *others = config.evaluation.strategies
    every, rows = rows, [row for row in rows if not row["run"]]
    by_strategy = {name: [row for row in rows if row["strategy"] == name] for name in (first, *others)}
    splits = tuple(dict.fromkeys(row["split"] for row in rows))
    return {
        "protocol": {
            **PROTOCOL,
            "grounding": config.grounding.model_dump(),
            "horizon": config.planner.horizon,
            "constrained": config.planner.constrain != "off",
            "max_steps": config.evaluation.max_steps
            or {task: world.max_steps(task) for task in sorted({row["task"] for row in rows})},
            "consistency": config.evaluation.consistency,
            "retries": config.evaluation.retries,
            "cases": digest_of(sorted({(row["task"], row["seed"]) for row in rows})),
        },
        "strategies": {
            name: summary(chosen, ONLINE_METRICS, resamples, counts) for name, chosen in by_strategy.items()
        },
        "runs": {
            name: {
                split: runs([row for row in every if (row["strategy"], row["split"]) == (name, split)])
                for split in splits
            }
            for name in by_strategy
        },
        "differences": {
            f"{first}-{name}": {
                split: difference(
                    [row for row in by_strategy[first] if row["split"] == split],
                    [row for row in by_strategy[name] if row["split"] == split],
                    "success",
                    resamples,
                ).to_dict()
                for split in splits
            }
            for name in others
        },
    }


def runs(rows: Sequence[Row]) -> list[float]:
    """The task success of each identical run: how far chance alone moves it, beside the choice of episodes."""
    return [fmean(row["success"] for row in rows if row["run"] == run) for run in sorted({row["run"] for row in rows})]


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """Episodes, and how they ended: solved, failed, unparsable, not grounded, impossible."""
    ends = [ended(row["reason"]) for row in rows]
    return {"episodes": len(rows)} | {name: ends.count(name) for name in ENDS}


def ended(reason: str) -> str:
    """How an episode ended, as ``counts`` names it; the first words of any other reason."""
    return next((name for name, start in ENDS.items() if reason.startswith(start)), reason.partition(":")[0])

"""The step ``online``: the plan-act loop in real Chromium, on the pages that stage 1 and 2 trained on (unseen seeds)
and on pages that nothing was ever trained on, by three strategies.

``results.jsonl`` has a row an episode, ``scores.json`` the task success of each strategy with 95 % intervals
(bootstrap over episodes). Where Chromium or MiniWoB++ is missing, ``scores.json`` says so and nothing else happens.
Scores are the page's raw outcome: no time limit, no decay. Pixels of one seed can differ slightly from run to run,
and some pages answer at random times, so that an online score is repeatable only up to its interval.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tracer import json_lines, tools
from tracer import planner as planners
from tracer.agents.agent import Agent
from tracer.agents.anticipatory import Anticipatory
from tracer.agents.plan_once import PlanOnce
from tracer.agents.react import React
from tracer.config import Config
from tracer.environments.miniwob import chromium
from tracer.environments.pages import HELDOUT, RL
from tracer.evaluation.episodes import CRASHED, Episode, Limits, play
from tracer.evaluation.results import RESULTS, SCORES, Row, difference, summary
from tracer.json_files import write_json
from tracer.lineage.digest import digest_of
from tracer.lineage.step import run_step
from tracer.planner.plan import Planner
from tracer.tools.tool_agent import ToolAgent

STRATEGIES = ("anticipatory", "reactive", "plan_once")
PAGES = {"test": RL, "heldout": HELDOUT}
SLOTS = 12
"""Pages open at once, whose states are forecast together: the planner's batch."""
SECONDS = 900.0
"""A stalled machine must not become a bad score, nor a page that hangs hold up the others for ever."""
PAGE_TIMEOUT_MS = 90_000
PROTOCOL = {"name": "tracer-miniwob", "version": 1}
METRICS = ("success", "steps")


def evaluate(config: Config, model: Path, out: Path) -> dict[str, Any]:
    """Play the planner in ``model`` into ``out``; return the lineage."""
    browser, missing = chromium()
    if not config.evaluation.online:
        missing = "evaluation.online is false in this profile"
    return run_step(
        "online",
        config={
            "planner": config.planner.model_dump(exclude={"base", "max_prompt_tokens"}),
            "grounding": config.grounding.model_dump(),
            "evaluation": config.evaluation.model_dump(exclude={"max_states"}),
            "pages": {split: list(pages) for split, pages in PAGES.items()},
            # Another browser is another environment, and one installed later is a reason to run again.
            "browser": browser if config.evaluation.online else "",
        },
        inputs={"model": model},
        out=out,
        module=__name__,
        body=lambda folder: skip(folder, missing) if missing else run(config, model, folder),
        seed=config.seed,
    )


def skip(out: Path, reason: str) -> dict[str, Any]:
    write_json(out / SCORES, {"skipped": reason})
    return {"skipped": reason}


def run(config: Config, model: Path, out: Path) -> dict[str, Any]:
    """Play every episode that has not been played yet; the headline metrics."""
    progress = out / "checkpoints" / RESULTS
    progress.parent.mkdir(exist_ok=True)
    every = list(episodes(config))
    done = {row["id"]: row for row in json_lines.take_up(progress)}
    left = [episode for episode in every if episode.id not in done]
    if left:
        (out / "logs").mkdir(exist_ok=True)
        with open(progress, "ab") as file, open(out / "logs" / "seconds.jsonl", "a") as log:
            for row, seconds in play_pages(config, left, planners.load(model)):
                done[row["id"]] = row
                file.write(json_lines.one(row))
                file.flush()
                log.write(json.dumps({"id": row["id"], "seconds": round(seconds, 2)}) + "\n")
    rows = [done[episode.id] for episode in every]
    json_lines.write(out / RESULTS, rows)
    scores = score(config, rows)
    write_json(out / SCORES, scores)
    return {
        f"{strategy}_{split}": block["metrics"]["success"]["mean"]
        for strategy, splits in scores["strategies"].items()
        for split, block in splits.items()
    }


def episodes(config: Config) -> Iterator[Episode]:
    """The episodes in the order of the results: every strategy meets the same pages and seeds."""
    first = config.evaluation.first_seed
    for strategy in STRATEGIES:
        for split, pages in PAGES.items():
            for page in pages:
                for seed in range(first, first + config.evaluation.episodes):
                    yield Episode(strategy=strategy, task=page, split=split, seed=seed)


def agent(strategy: str, agent_tools: ToolAgent, horizon: int) -> Agent:
    """A fresh agent for one episode; raises ``KeyError``.

    ``plan_once`` asks again when its forecast is used up: it loses by acting blindly, not by the horizon's end.
    """
    makers: dict[str, Callable[[], Agent]] = {
        "anticipatory": lambda: Anticipatory(agent_tools, horizon),
        "reactive": lambda: React(agent_tools),
        "plan_once": lambda: PlanOnce(agent_tools, horizon, again=True),
    }
    return makers[strategy]()


def play_pages(config: Config, wanted: Sequence[Episode], planner: Planner) -> Iterator[tuple[dict[str, Any], float]]:
    """Play the episodes in one Chromium; a row and its seconds as each ends."""
    from playwright.sync_api import Error

    from tracer.environments.miniwob import Browser, MiniWob, UnsupportedAction

    agent_tools = tools.load(config.grounding)
    with Browser() as browser:
        browser.context.set_default_timeout(PAGE_TIMEOUT_MS)
        yield from play(
            wanted,
            planner,
            lambda page: MiniWob(browser, page),
            lambda strategy: agent(strategy, agent_tools, config.planner.horizon),
            Limits(max_steps=config.evaluation.max_steps, seconds=SECONDS),
            slots=SLOTS,
            faults=(Error,),
            impossible=(UnsupportedAction,),
        )


def score(config: Config, rows: Sequence[Row]) -> dict[str, Any]:
    """Success and steps of each strategy, and the paired differences to the anticipatory one."""
    resamples = config.evaluation.resamples
    by_strategy = {name: [row for row in rows if row["strategy"] == name] for name in STRATEGIES}
    splits = tuple(dict.fromkeys(row["split"] for row in rows))
    return {
        "protocol": {
            **PROTOCOL,
            "grounding": config.grounding.model_dump(),
            "horizon": config.planner.horizon,
            "max_steps": config.evaluation.max_steps,
            "cases": digest_of(sorted({(row["task"], row["seed"]) for row in rows})),
        },
        "strategies": {name: summary(chosen, METRICS, resamples, counts) for name, chosen in by_strategy.items()},
        "differences": {
            f"anticipatory-{name}": {
                split: difference(
                    [row for row in by_strategy["anticipatory"] if row["split"] == split],
                    [row for row in by_strategy[name] if row["split"] == split],
                    "success",
                    resamples,
                ).to_dict()
                for split in splits
            }
            for name in STRATEGIES[1:]
        },
        "crashed": {row["id"]: row["reason"] for row in rows if row["reason"].startswith(CRASHED)},
    }


def counts(rows: Sequence[Row]) -> dict[str, Any]:
    """Episodes, and how they ended: solved, failed, unparsable, not grounded, impossible, crashed."""
    ends = ("solved", "failed", "unparsable", "the tool agent", "impossible", "crashed")
    names = ("solved", "failed", "unparsable", "not_grounded", "impossible", "crashed")
    return {"episodes": len(rows)} | {
        name: sum(row["reason"].startswith(end) for row in rows) for name, end in zip(names, ends, strict=True)
    }

"""Which agent is worth what it costs: every planner played by every strategy, on the same pages and seeds.

Success and cost of each pair with 95 % intervals (bootstrap over episodes), and the paired differences to the first
strategy, and to the first planner. Cost is what an episode takes: the planner's calls, the tokens of its answers, and
seconds of the wall clock, in which other episodes are played too (``online.SLOTS``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import flow, package_data
from tracer.config import Config
from tracer.evaluation.online import ONLINE_METRICS, SLOTS
from tracer.evaluation.results import Row, difference, interval, read_rows, read_scores
from tracer.evaluation.traces import episodes
from tracer.experiments import pages
from tracer.lineage.provenance import git_commit, hardware
from tracer.lineage.step import read_lineage
from tracer.settings import ConfigError

METRICS = (*ONLINE_METRICS, "seconds")
Cells = Mapping[tuple[str, str], list[Row]]


def compare(config: Config, planners: Sequence[str], say: Callable[[str], None] = print) -> dict[str, Any]:
    """Play what has not been played yet, into ``agents`` in the run's folder; what ``write_page`` shows.

    Raises ``ConfigError`` where nothing can be played, and what ``online.evaluate`` raises.
    """
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"unplayed": ()})})
    given = {name: flow.trained(config, name) for name in planners}
    cells: dict[tuple[str, str], list[Row]] = {}
    for name in planners:
        step = flow.evaluation("online", name)
        out = config.out("agents") / step.name
        step.run(config, out, {read: flow.folder(config, read) for read in step.reads} | given)
        if reason := read_scores(out).get("skipped"):
            raise ConfigError(f"no episode can be played: {reason}")
        say(f"{step.name}: {read_lineage(out)['seconds']} s")
        rows = timed(out)
        for strategy in config.evaluation.strategies:
            cells[name, strategy] = [row for row in rows if row["strategy"] == strategy and not row["run"]]
    return {
        "profile": config.profile,
        "seed": config.seed,
        "environment": config.evaluation.environment,
        "slots": SLOTS,
        "git": git_commit(),
        "hardware": hardware(),
        "cells": [summary(cells, *cell, config.evaluation.resamples) for cell in cells],
    }


def timed(out: Path) -> list[Row]:
    """The rows of an online evaluation, each with the seconds that its trace says; of two traces the later counts."""
    seconds = {trace["id"]: sum(turn["seconds"] for turn in trace["turns"]) for trace in episodes(out)}
    return [{**row, "seconds": seconds[row["id"]]} for row in read_rows(out)]


def summary(cells: Cells, planner: str, strategy: str, resamples: int) -> dict[str, Any]:
    """Per split, success and cost of a planner by a strategy, and its success less that of the first of each."""
    first_planner, first_strategy = next(iter(cells))
    splits: dict[str, Any] = {}
    for split in dict.fromkeys(row["split"] for row in cells[planner, strategy]):

        def rows(*cell: str, split: str = split) -> list[Row]:
            return [row for row in cells[cell[0], cell[1]] if row["split"] == split]

        ours = rows(planner, strategy)
        over = {
            "strategy": (planner, first_strategy) if strategy != first_strategy else None,
            "planner": (first_planner, strategy) if planner != first_planner else None,
        }
        splits[split] = {
            "episodes": len(ours),
            "metrics": {metric: interval(ours, metric, resamples).to_dict() for metric in METRICS},
            "over": {
                name: other and difference(ours, rows(*other), "success", resamples).to_dict()
                for name, other in over.items()
            },
        }
    return {"planner": planner, "strategy": strategy, "splits": splits}


def write_page(results: Mapping[str, Any], folder: Path) -> Path:
    """Keep the results in ``<folder>/agents/<profile>.json``; write ``<folder>/agents.md`` from all that are there."""
    kept = folder / "agents"
    pages.keep(results, kept)
    found = pages.read(kept, "tracer compare-agents")
    for result in found:
        draw(result, kept / f"{result['profile']}.svg")
    return pages.write(package_data.read("experiments/templates/agents.md.j2"), folder / "agents.md", results=found)


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Success against tokens, a panel per split: a colour for each planner, a mark for each strategy."""
    splits = list(result["cells"][0]["splits"])
    planners, strategies = (
        list(dict.fromkeys(cell[key] for cell in result["cells"])) for key in ("planner", "strategy")
    )
    figure = pages.figure(4.2 * len(splits), 3.8)
    panels = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]
    for axes, split in zip(panels, splits, strict=True):
        for cell in result["cells"]:
            success, tokens = (cell["splits"][split]["metrics"][name] for name in ("success", "tokens"))
            axes.errorbar(
                tokens["mean"],
                100 * success["mean"],
                yerr=[[100 * (success["mean"] - success["low"])], [100 * (success["high"] - success["mean"])]],
                color=f"C{planners.index(cell['planner'])}",
                marker="osD^vPX*"[strategies.index(cell["strategy"]) % 8],
                label=f"{cell['planner']}, {cell['strategy']}",
                capsize=2,
                linewidth=0.8,
            )
        axes.set_title(split)
        axes.set_xlabel("tokens an episode")
    panels[0].set_ylabel("episodes solved, %")
    figure.legend(*panels[-1].get_legend_handles_labels(), fontsize=7, loc="outside right center")
    pages.save(figure, path)

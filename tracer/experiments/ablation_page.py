"""docs/ablations.md and its plots, from the comparisons recorded in docs/ablations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.evaluation.scoring import METRICS
from tracer.experiments.ablation import METRICS as COMPARED
from tracer.experiments.stamp import commit, machine
from tracer.lineage.digest import LineageError

HEAD = """\
# Ablations

Written by `tracer ablate` from `docs/ablations/*.json`; change neither by hand.

Each variant changes one thing and is trained again for every seed; everything else is the profile's. All planners
forecast the same held-out states. A difference is the variant less the baseline, paired by state; its 95 % interval is
a bootstrap over trajectories of the mean over the seeds, and each seed's own difference stands beside it. *Came out*
says `yes` or `opposite` only where the interval leaves out zero and all seeds are on one side; otherwise it says so.
The tiny base was taught forecasts of five steps: a longer T gives stage 1 room that it has to fill itself. The paper
measured a planner of 8 billion parameters on other benchmarks: a claim that does not come out here is no refutation,
and one that does is no proof.
"""
WORST, BEST = "#b3382c", "#2c6fb3"


def write_page(results: Path, page: Path) -> None:
    """Write the page and a plot a profile; raises ``LineageError`` for a folder without results."""
    found = [json.loads(path.read_text()) for path in sorted(results.glob("*.json"))]
    if not found:
        raise LineageError(f"{results} contains no result; run `tracer ablate`")
    parts = [HEAD]
    for result in found:
        plots = {"differences": draw_differences(result, results)}
        varied = [entry for entry in result["variants"] if entry["name"].startswith("horizon-")]
        if len(varied) > 1:
            plots["horizon"] = draw_horizon(varied, results / f"{result['profile']}-horizon.svg")
        parts.append(section(result, {name: path.relative_to(page.parent) for name, path in plots.items()}))
    page.write_text("\n".join(parts))


def section(result: Mapping[str, Any], plots: Mapping[str, Path]) -> str:
    """The table and plots of one profile."""
    variants = result["variants"]
    machines = sorted({machine(entry["hardware"]) for entry in variants})
    commits = sorted({commit(entry["git"]) for entry in variants})
    changed = f" Settings changed for all: `{'`, `'.join(result['overrides'])}`." if result["overrides"] else ""
    rows = [
        f"| {entry['title']}{' (ours)' if entry['ours'] else ''} | {entry['metric']} | {_mean(entry, 'baseline')} | "
        f"{_mean(entry, 'variant')} | {_difference(entry)} | {_seeds(entry)} | {entry['claim']} | "
        f"**{entry['verdict']}** |"
        for entry in variants
    ]
    metrics = sorted({entry["metric"] for entry in variants})
    return "\n".join(
        [
            f"## Profile `{result['profile']}`",
            "",
            f"{result['seeds']} seeds; {'; '.join(machines)}; commit {', '.join(commits)}.{changed}",
            "",
            "| variant | metric | baseline | variant | difference (95 %) | each seed | claim | came out |",
            "|---|---|---:|---:|---|---|---|---|",
            *rows,
            "",
            *(f"- *{name}*: {METRICS[name]}." for name in metrics),
            "",
            *horizons(variants),
            *(f"![{name}]({path.as_posix()})" for name, path in plots.items()),
            "",
            "What else moved, variant less baseline:",
            "",
            f"| variant | {' | '.join(COMPARED)} |",
            "|---|" + "---|" * len(COMPARED),
            *(f"| {entry['title']} | {' | '.join(_change(entry, name) for name in COMPARED)} |" for entry in variants),
            "",
        ]
    )


def horizons(variants: Sequence[Mapping[str, Any]]) -> list[str]:
    """How much of a longer horizon there was to learn from: where episodes are short, or forecasts stay so, nothing."""
    rows = [
        f"| {entry['title']} | {entry['steps']['reference']:.2f} | {entry['steps']['forecast']:.2f} |"
        for entry in variants
        if entry["name"].startswith("horizon-")
    ]
    head = ["| | steps that lay ahead, within T | steps forecast |", "|---|---:|---:|"]
    return [*head, *rows, ""] if rows else []


def _mean(entry: Mapping[str, Any], side: str) -> str:
    interval = entry["metrics"][entry["metric"]][side]
    return "not scorable" if interval is None else f"{interval['mean']:.3f}"


def _difference(entry: Mapping[str, Any]) -> str:
    return _change(entry, entry["metric"])


def _change(entry: Mapping[str, Any], metric: str) -> str:
    found = entry["metrics"][metric]["difference"]
    return "not scorable" if found is None else f"{found['mean']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def _seeds(entry: Mapping[str, Any]) -> str:
    return ", ".join(f"{value:+.3f}" for value in entry["metrics"][entry["metric"]]["seeds"])


def draw_differences(result: Mapping[str, Any], folder: Path) -> Path:
    """A row per variant: where the claim says the difference is (shaded), and where it was measured."""
    variants = [entry for entry in reversed(result["variants"]) if entry["metrics"][entry["metric"]]["difference"]]
    figure, axes = _figure(8.0, 0.42 * len(variants) + 1.2)
    reach = max((abs(edge) for entry in variants for edge in _edges(entry)), default=0.1) * 1.15 or 0.1
    for row, entry in enumerate(variants):
        measured = entry["metrics"][entry["metric"]]
        if entry["sign"]:
            ends = sorted((0.0, entry["sign"] * reach))
            axes.fill_betweenx([row - 0.4, row + 0.4], *ends, color="#dddddd", zorder=0)
        colour = WORST if entry["verdict"] == "opposite" else BEST
        difference = measured["difference"]
        axes.plot([difference["low"], difference["high"]], [row, row], color=colour, linewidth=2)
        axes.plot([difference["mean"]], [row], "o", color=colour)
        axes.plot(measured["seeds"], [row] * len(measured["seeds"]), "|", color="black", markersize=9)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-0.6, len(variants) - 0.4)
    axes.set_yticks(range(len(variants)), [f"{entry['title']} ({entry['metric']})" for entry in variants])
    axes.set_xlabel("variant less baseline; shaded: where the paper says; ticks: each seed")
    return _save(figure, folder / f"{result['profile']}-differences.svg")


def _edges(entry: Mapping[str, Any]) -> Sequence[float]:
    measured = entry["metrics"][entry["metric"]]
    return [measured["difference"]["low"], measured["difference"]["high"], *measured["seeds"]]


def draw_horizon(horizons: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Step success against T, the range that the paper found best shaded."""
    figure, axes = _figure(6.0, 3.4)
    steps = [int(entry["name"].removeprefix("horizon-")) for entry in horizons]
    means = [entry["metrics"]["step"]["variant"] for entry in horizons]
    axes.axvspan(5, 10, color="#dddddd", zorder=0, label="the paper's best")
    below = [each["mean"] - each["low"] for each in means]
    above = [each["high"] - each["mean"] for each in means]
    centre = [each["mean"] for each in means]
    axes.errorbar(steps, centre, yerr=[below, above], fmt="o-", color=BEST, capsize=3, label="measured")
    axes.set_xticks(steps)
    axes.set_xlabel("T, steps of a forecast")
    axes.set_ylabel("step success")
    axes.legend(frameon=False)
    return _save(figure, path)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "tracer"  # the same figure is the same bytes
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _save(figure: Any, path: Path) -> Path:
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path

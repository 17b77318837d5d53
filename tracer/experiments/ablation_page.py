"""docs/ablations.md and its plots, from the comparisons recorded in docs/ablations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import package_data
from tracer.evaluation.scoring import METRICS
from tracer.experiments import pages
from tracer.experiments.ablation import COMPARED

WORST, BEST = "#b3382c", "#2c6fb3"


def write_page(results: Path, page: Path) -> None:
    """Write the page and the plots of each profile; raises ``LineageError`` for a folder without results."""
    found = pages.read(results, "tracer ablate")
    pages.write(
        package_data.read("experiments/templates/ablations.md.j2"),
        page,
        results=found,
        plots={result["profile"]: draw(result, results, page.parent) for result in found},
        machines=lambda result: sorted({pages.machine(entry["hardware"]) for entry in result["variants"]}),
        commits=lambda result: sorted({pages.commit(entry["git"]) for entry in result["variants"]}),
        definitions=METRICS,
        compared=COMPARED,
    )


def draw(result: Mapping[str, Any], folder: Path, root: Path) -> dict[str, str]:
    """Draw a profile's plots into a folder; their names, with their paths from ``root``."""
    plots = {"differences": draw_differences(result, folder)}
    varied = [entry for entry in result["variants"] if entry["name"].startswith("horizon-")]
    if len(varied) > 1:
        plots["horizon"] = draw_horizon(varied, folder / f"{result['profile']}-horizon.svg")
    return {name: path.relative_to(root).as_posix() for name, path in plots.items()}


def draw_differences(result: Mapping[str, Any], folder: Path) -> Path:
    """A row per variant: where the claim says the difference is (shaded), and where it was measured."""
    variants = [entry for entry in reversed(result["variants"]) if entry["metrics"][entry["metric"]]["difference"]]
    figure = pages.figure(8.0, 0.42 * len(variants) + 1.2)
    axes = figure.add_subplot()
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
    return pages.save(figure, folder / f"{result['profile']}-differences.svg")


def _edges(entry: Mapping[str, Any]) -> Sequence[float]:
    measured = entry["metrics"][entry["metric"]]
    return [measured["difference"]["low"], measured["difference"]["high"], *measured["seeds"]]


def draw_horizon(horizons: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Step success against T, the range that the paper found best shaded."""
    figure = pages.figure(6.0, 3.4)
    axes = figure.add_subplot()
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
    return pages.save(figure, path)

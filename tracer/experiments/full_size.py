"""A training step of a large profile by itself, on a machine with GPUs: what docs/full-size.md shows as measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.capacity import memory
from tracer.config import Config
from tracer.experiments import pages
from tracer.experiments.bench import PHASES, measured, turns
from tracer.lineage.digest import LineageError
from tracer.lineage.provenance import git_commit, hardware, library_versions
from tracer.planner.shape import shape_of
from tracer.training.preflight import weights_of
from tracer.training.stage1 import STAGE

BEGIN, END = "<!-- written by `tracer measure` -->\n", "<!-- until here -->\n"


def measure(config: Config, start: Path, trajectories: Path, work: Path, steps: int) -> dict[str, Any]:
    """Take ``steps`` steps of stage 1; their seconds by phase, tokens and memory, and how far vLLM is from the trainer.

    ``work`` keeps the log. Raises ``LineageError``.
    """
    for path in (start, trajectories):
        if not path.exists():
            commands = " and ".join(f"`{config.command(words)}`" for words in ("ingest", "base hub"))
            raise LineageError(f"{path} does not exist; run {commands}")
    work.mkdir(parents=True, exist_ok=True)
    laps = turns(config, start, trajectories, work, steps, sides=("ours",))["ours"]
    shape, options = shape_of(weights_of(start)), STAGE.options(config)
    apart = [lap["logp_difference"] for lap in laps if lap["logp_difference"] is not None]
    return {
        "profile": config.profile,
        "git": git_commit(),
        "hardware": hardware(),
        "versions": library_versions(),
        "steps": steps,
        "planned_gigabytes": round(memory.estimate(shape, config, options).total, 2),
        "logp_difference": max(apart, default=None),
        **measured(laps[:-1], laps[-1]),
    }


def fill(page: Path, result: Mapping[str, Any]) -> None:
    """Write a result between the two marks of a page; raises ``LineageError`` where they are not."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise LineageError(f"{page} has no place for a result: a line {BEGIN.strip()} and a line {END.strip()}")
    page.write_text(f"{before}{BEGIN}{_shown(result)}{END}{after}", encoding="utf-8")


def _shown(result: Mapping[str, Any]) -> str:
    seconds, versions, apart = result["seconds"], result["versions"], result["logp_difference"]
    rows = {
        **{f"{phase}, seconds": f"{seconds[phase]:.3g}" for phase in ("step", *PHASES)},
        "tokens per step": f"{sum(result['tokens'].values()):.0f}",
        "tokens per second": f"{result['tokens_per_second']:.0f}",
        "memory at the peak, GB, as PyTorch counts it": f"{result['peak_bytes'] / 1e9:.1f}",
        "the same, as `tracer plan` has it": f"{result['planned_gigabytes']:.1f}",
        "log-probabilities of vLLM and of the trainer, furthest apart": "no vLLM" if apart is None else f"{apart:.2g}",
    }
    made = f"torch {versions.get('torch')}, TRL {versions.get('trl')}"
    head = f"`{result['profile']}` on {pages.machine(result['hardware'])}, commit {pages.state(result['git'])}, {made}"
    lines = [f"{head}: {result['steps']} steps of stage 1, medians.", "", "| | |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {name} | {value} |" for name, value in rows.items())]) + "\n"

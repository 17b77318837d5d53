"""What each stage of training is worth: the whole chain over several seeds, each stage against the one before it.

What each stage promises, with its interval (as in the paper: stage 1 beats the base on forecast similarity, stage 2
beats stage 1 on grounded step success and on online task success); and whether re-forecasting beats acting reactively,
or blindly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer import flow, package_data
from tracer.config import Config, load
from tracer.evaluation.results import read_rows
from tracer.experiments import pages
from tracer.experiments.seeds import difference, verdict
from tracer.json_files import write_json
from tracer.lineage.provenance import git_commit, hardware
from tracer.stages import BASE, MODELS, PROMISES

SPLITS = {"all": ("test", "heldout"), "unseen seeds": ("test",), "unseen pages": ("heldout",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One planner by one strategy; ``strategy`` is empty off-line, where there is none."""

    model: str
    strategy: str = ""

    @property
    def step(self) -> str:
        """The step whose results are compared."""
        return flow.evaluation("online" if self.strategy else "offline", self.model).name

    @property
    def title(self) -> str:
        """What tables call it."""
        return f"{self.model}, {self.strategy}" if self.strategy else self.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That ``ours`` beats ``theirs`` in ``metric``."""

    ours: Side
    theirs: Side
    metric: str


LOOP, OTHERS = "anticipatory", ("react", "blind")


def claims() -> Iterator[Claim]:
    """What each stage promises over its start, and over the base; then what forecasting again is worth."""
    for stage, promise in PROMISES:
        strategy = LOOP if promise.online else ""
        ours = Side(model=stage.name, strategy=strategy)
        for before in dict.fromkeys((promise.over or stage.start, stage.start, BASE)):
            yield Claim(ours=ours, theirs=Side(model=before, strategy=strategy), metric=promise.metric)
    last = MODELS[-1]
    for strategy in OTHERS:
        yield Claim(ours=Side(model=last, strategy=LOOP), theirs=Side(model=last, strategy=strategy), metric="success")


def run(
    profile: str | None, *, seeds: int, overrides: Sequence[str] = (), say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Run the chain for every seed, finding what is finished, and compare; what ``write_page`` shows."""
    configs = []
    for seed in range(seeds):
        config = load(profile, [*overrides, f"seed={seed}"])
        say(f"{config.profile}, seed {seed}")
        flow.run(config, say)
        configs.append(config)
    return {
        "profile": configs[0].profile,
        "seeds": seeds,
        "overrides": list(overrides),
        "git": git_commit(),
        "hardware": hardware(),
        "claims": [compare(claim, configs) for claim in claims()],
    }


def compare(claim: Claim, configs: Sequence[Config]) -> dict[str, Any]:
    """One claim, on each of ``SPLITS``."""
    ours, theirs = ([_rows(config, side) for config in configs] for side in (claim.ours, claim.theirs))
    compared: dict[str, Any] = {"ours": claim.ours.title, "theirs": claim.theirs.title, "metric": claim.metric}
    compared["splits"] = {}
    for name, splits in SPLITS.items():
        mine, others = ([[row for row in rows if row["split"] in splits] for rows in side] for side in (ours, theirs))
        found = difference(mine, others, claim.metric, configs[0].evaluation.resamples)
        compared["splits"][name] = {**found, "verdict": verdict(1, found)}
    return compared


def _rows(config: Config, side: Side) -> list[dict[str, Any]]:
    rows = read_rows(config.out(side.step))
    return [row for row in rows if row["strategy"] == side.strategy] if side.strategy else rows


def write_page(results: Mapping[str, Any], folder: Path) -> Path:
    """Keep the results in ``<folder>/stages/<profile>.json``; write ``<folder>/stages.md`` from all that are there."""
    kept = folder / "stages"
    kept.mkdir(parents=True, exist_ok=True)
    write_json(kept / f"{results['profile']}.json", dict(results))
    template = package_data.read("experiments/templates/stages.md.j2")
    return pages.write(template, folder / "stages.md", results=pages.read(kept, "tracer stages"))

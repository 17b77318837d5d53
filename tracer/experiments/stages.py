"""What each stage of training is worth: the whole chain over several seeds, each stage against the one before it.

What each stage promises, with its interval (as in the paper: stage 1 beats the base on forecast similarity, stage 2
beats stage 1 on grounded step success and on online task success); and whether re-forecasting beats acting reactively,
or blindly.

The reactive rival is no planner that was taught to look ahead and is cut off after a step: the same base is trained by
the same stages with T = 1, on as many sampled tokens, and played by ``react``.
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
from tracer.lineage.provenance import git_commit, hardware
from tracer.lineage.step import read_lineage
from tracer.stages import BASE, MODELS, PROMISES, STAGES

SPLITS = {"all": ("test", "heldout"), "unseen seeds": ("test",), "unseen pages": ("heldout",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One planner by one strategy; ``strategy`` is empty off-line, where there is none."""

    model: str
    strategy: str = ""
    rival: bool = False
    """Whether the planner was trained with T = 1 (``reactive``)."""

    @property
    def step(self) -> str:
        """The step whose results are compared."""
        return flow.evaluation("online" if self.strategy else "offline", self.model).name

    @property
    def title(self) -> str:
        """What tables call it."""
        model = f"{self.model} of T = 1" if self.rival else self.model
        return f"{model}, {self.strategy}" if self.strategy else model


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That ``ours`` beats ``theirs`` in ``metric``."""

    ours: Side
    theirs: Side
    metric: str


LOOP, OTHERS, REACTIVE = "anticipatory", ("react", "blind"), "react"
MOST = 20
"""How many times more steps than its model the reactive rival may take. Its tokens end it long before."""


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
    rival = Side(model=last, strategy=REACTIVE, rival=True)
    yield Claim(ours=Side(model=last, strategy=LOOP), theirs=rival, metric="success")
    yield Claim(ours=Side(model=last), theirs=Side(model=last, rival=True), metric="step")


def reactive(config: Config, overrides: Sequence[str] = ()) -> Config:
    """The configuration of the reactive rival of a finished chain: T = 1, and each stage ends once it has sampled as
    many tokens as that chain's. Its answers are a line each, so that it takes more steps for them."""
    changed = ["planner.horizon=1", f"evaluation.strategies=[{REACTIVE}]"]
    for stage in STAGES:
        sampled = read_lineage(config.out(stage.name))["metrics"]["tokens"]
        changed += [f"{stage.name}.tokens={sampled}", f"{stage.name}.steps={MOST * stage.options(config).steps}"]
    build = f"build={config.build}/reactive/{config.profile}"
    return load(config.profile, [*overrides, *changed, f"seed={config.seed}", build])


def played(config: Config, claim: Claim, *, rival: bool) -> bool:
    """Whether a profile plays both sides of a claim, and whether the rival, if it is about that one, is trained."""
    sides, chosen = (claim.ours, claim.theirs), config.evaluation
    if any(side.rival for side in sides) and not rival:
        return False
    own = [side for side in sides if side.strategy and not side.rival]
    return all(side.strategy in chosen.strategies and side.model not in chosen.unplayed for side in own)


def run(
    profile: str | None,
    *,
    seeds: int,
    overrides: Sequence[str] = (),
    rival: bool = True,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the chain for every seed, finding what is finished, and compare; what ``write_page`` shows."""
    configs, rivals = [], []
    for seed in range(seeds):
        config = load(profile, [*overrides, f"seed={seed}"])
        say(f"{config.profile}, seed {seed}")
        flow.run(config, say)
        configs.append(config)
        if not rival:
            continue
        rivals.append(reactive(config, overrides))
        say(f"{config.profile}, seed {seed}: reactive")
        given = {"ingest": config.out("ingest"), BASE: flow.model(config, BASE)}
        for last in (flow.evaluation("offline", MODELS[-1]), flow.evaluation("online", MODELS[-1])):
            flow.run_before(last, rivals[-1], given)
            last.run(rivals[-1], given=given)
    return {
        "profile": configs[0].profile,
        "seeds": seeds,
        "overrides": list(overrides),
        "git": git_commit(),
        "hardware": hardware(),
        "claims": [compare(claim, configs, rivals) for claim in claims() if played(configs[0], claim, rival=rival)],
    }


def compare(claim: Claim, configs: Sequence[Config], rivals: Sequence[Config]) -> dict[str, Any]:
    """One claim, on each of ``SPLITS``; ``rivals`` are the configurations of the reactive planners."""
    sides = (claim.ours, claim.theirs)
    ours, theirs = ([_rows(each, side) for each in (rivals if side.rival else configs)] for side in sides)
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
    pages.keep(results, kept)
    template = package_data.read("experiments/templates/stages.md.j2")
    return pages.write(template, folder / "stages.md", results=pages.read(kept, "tracer stages"))

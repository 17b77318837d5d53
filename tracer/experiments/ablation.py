"""The ablations: what happens to the planner when one thing of the method is changed.

A variant, one of ``variants.yaml``, is a handful of configuration overrides. It goes through the flow's own steps,
validation and gates included, into ``<build>/ablations/<profile>/<variant>``, so a finished one is found and a killed
one goes on. All planners forecast the same held-out states, and are scored by the profile's own reward, whatever they
were trained with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from pydantic import TypeAdapter

from tracer import flow, package_data
from tracer.config import Config, load
from tracer.evaluation.offline import REMAINING
from tracer.evaluation.results import read_rows
from tracer.experiments.seeds import difference, verdict
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import LineageError
from tracer.lineage.provenance import git_commit, hardware
from tracer.lineage.step import read_lineage
from tracer.settings import ConfigError, Section
from tracer.stages import BASE

BASELINE = "paper"
COMPARED = ("step", "prefix", "similarity", "repetition", "excess", "parsed")


class Variant(Section):
    """One changed thing: ``overrides`` of the profile, and what the paper says of it."""

    name: str
    title: str
    overrides: tuple[str, ...]
    stage: str = "stage1"
    """The stage whose planner is evaluated. Stage 1 alone where it answers the question."""
    against: str = "stage1"
    """The stage of the baseline that it is compared with."""
    metric: str = "step"
    claim: str
    """What is expected, in words; ``sign`` is the same as the sign of variant less baseline (0: no claim)."""
    sign: int
    ours: bool = False
    """Not from the paper, but a question of our own."""


VARIANTS = TypeAdapter(tuple[Variant, ...]).validate_python(
    yaml.safe_load(package_data.read("experiments/variants.yaml"))
)
# The baseline is the paper's method as the profile has it; its penalty, cumulative, is the third of the penalties.
REFERENCE = Variant(name=BASELINE, title="the paper's method", overrides=(), claim="the baseline", sign=0)


def select(names: Sequence[str]) -> list[Variant]:
    """The variants of these names (all for none); raises ``ConfigError`` for an unknown one."""
    known = {variant.name: variant for variant in VARIANTS}
    for name in names:
        if name not in known:
            raise ConfigError(f"no ablation is called {name!r}; there are: {', '.join(known)}")
    return [known[name] for name in names] or list(VARIANTS)


def configuration(profile: str | None, variant: Variant, seed: int, overrides: Sequence[str] = ()) -> Config:
    """The profile with a variant's overrides, in a build folder of its own. A horizon over 10 is forced: it is asked.

    ``overrides`` are for all variants, and come before the variant's own.
    """
    plain = load(profile, overrides)
    build = f"{plain.build}/ablations/{plain.profile}/{variant.name}"
    changed = [*overrides, *variant.overrides, f"seed={seed}", f"build={build}"]
    config = load(profile, changed, force=True)
    if config.planner.horizon > plain.planner.horizon:  # as much room for each step of a longer forecast
        tokens = math.ceil(plain.planner.max_new_tokens * config.planner.horizon / plain.planner.horizon)
        config = load(profile, [*changed, f"planner.max_new_tokens={tokens}"], force=True)
    return config


Say = Callable[[str], None]


def ablate(
    profile: str | None,
    *,
    seeds: int = 3,
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
    say: Say = print,
) -> list[dict[str, Any]]:
    """Train and evaluate the chosen variants and their baseline for every seed; the comparisons.

    Needs the profile's trajectories and base. Raises ``LineageError``, ``ConfigError``.
    """
    plain = load(profile, overrides)
    chosen = select(only)
    stages = {"stage1"} | {variant.against for variant in chosen}
    runs: dict[tuple[str, str, int], Path] = {}
    for seed in range(seeds):
        config = configuration(profile, REFERENCE, seed, overrides)
        for stage in sorted(stages):
            say(f"{BASELINE}, seed {seed}: {stage}")
            runs[BASELINE, stage, seed] = train_and_evaluate(config, plain, stage)
        for variant in chosen:
            varied = configuration(profile, variant, seed, overrides)
            if varied.model_copy(update={"build": config.build}) == config:  # no stage 2; T as the profile has it
                runs[variant.name, variant.stage, seed] = runs[BASELINE, variant.stage, seed]
                continue
            say(f"{variant.name}, seed {seed}: {variant.stage}")
            runs[variant.name, variant.stage, seed] = train_and_evaluate(varied, plain, variant.stage)
    return [compare(variant, runs, seeds, plain.evaluation.resamples) for variant in chosen]


def train_and_evaluate(config: Config, plain: Config, stage: str) -> Path:
    """Run the flow with a variant's configuration up to the offline evaluation of a stage; the folder of that.

    Data and base are the profile's own. Raises ``ValidationFailed`` and ``GateError`` as the flow itself does.
    """
    last = flow.evaluation("offline", stage)
    given = {"ingest": plain.out("ingest"), BASE: flow.model(plain, BASE)}
    read_lineage(given["ingest"])
    flow.run_before(last, config, given)
    # One draw of states and one reward for all: what differs between two evaluations is the planner.
    alike = config.model_copy(update={"reward": plain.reward, "seed": 0})
    last.run(alike, out=last.out(config), given={**given, stage: flow.model(config, stage)})
    return last.out(config)


def compare(variant: Variant, runs: Mapping[tuple[str, str, int], Path], seeds: int, resamples: int) -> dict[str, Any]:
    """A variant against its baseline: every metric's mean and difference over all states and seeds, and the verdict."""
    ours = [read_rows(runs[variant.name, variant.stage, seed]) for seed in range(seeds)]
    theirs = [read_rows(runs[BASELINE, variant.against, seed]) for seed in range(seeds)]
    metrics = {metric: difference(ours, theirs, metric, resamples) for metric in COMPARED}
    left = {}
    for name, steps in REMAINING.items():
        mine, others = (
            [[row for row in rows if row["remaining"] in steps] for rows in side] for side in (ours, theirs)
        )
        left[name] = difference(mine, others, variant.metric, resamples)
    return {
        **variant.model_dump(exclude={"stage"}),
        "against": f"{BASELINE}, {variant.against}",
        "metrics": metrics,
        "verdict": verdict(variant.sign, metrics[variant.metric]),
        # The paper's claim is about long tasks.
        "remaining": left,
        # How far there was to see, within T, and how far was looked.
        "steps": {name: mean(len(row[name]) for rows in ours for row in rows) for name in ("reference", "forecast")},
        "outputs": {
            side: [read_lineage(runs[name, stage, seed])["output"] for seed in range(seeds)]
            for side, name, stage in (("variant", variant.name, variant.stage), ("baseline", BASELINE, variant.against))
        },
    }


def record(
    comparisons: Sequence[Mapping[str, Any]], profile: str | None, seeds: int, overrides: Sequence[str], folder: Path
) -> Path:
    """Write the comparisons of a profile as JSON, beside those of other variants that are there; the file.

    Raises ``LineageError`` where what is there is of another number of seeds or other settings.
    """
    plain = load(profile, overrides)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plain.profile}.json"
    head: dict[str, Any] = {"profile": plain.profile, "seeds": seeds, "overrides": list(overrides)}
    found = read_json(path) if path.is_file() else {**head, "variants": []}
    if {name: found[name] for name in head} != head:
        raise LineageError(
            f"{path} is of {found['seeds']} seeds with {found['overrides']}, not {seeds} with {list(overrides)}; "
            f"move it away, or ask for the same"
        )
    stamp = {"git": git_commit(), "hardware": hardware()}
    kept = {each["name"]: each for each in found["variants"]}
    if kept.keys() - {each["name"] for each in comparisons} and "note" in found:
        head["note"] = found["note"]  # of what stays
    kept |= {each["name"]: {**each, **stamp} for each in comparisons}
    order = [variant.name for variant in VARIANTS]
    write_json(path, {**head, "variants": [kept[name] for name in order if name in kept]})
    return path

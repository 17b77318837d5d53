"""How fast stage 1 trains, beside a bare TRL script of the same model, states and settings.

Each side is a process of its own, and only one of them works at any moment: they take their steps in turns, so that
whatever else the machine does falls on both alike. tracer/experiments/lap.py is what each of them runs.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import package_data
from tracer.config import Config
from tracer.experiments import lap, pages
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import LineageError
from tracer.lineage.provenance import git_commit, hardware, library_versions
from tracer.statistics import mean_interval, paired_difference

SIDES = ("ours", "trl")
PHASES = ("generate", "score", "update", "sync")
MAX_REWARD_SHARE = 0.01
"""The share of a step that the reward may cost."""
GOAL = 1.5
"""How many times as fast as a bare TRL script stage 1 should be on the profile tiny."""
MIN_STEPS, MIN_SEEDS = 20, 3
"""What a recorded result needs at least: fewer turns vary too much, and one seed says nothing of the rewards."""
WARM_UP = 2
"""Steps of each side that are not counted: the first ones plan kernels and grow memory."""


class Side:
    """The process of one side."""

    def __init__(self, name: str, config: Config, start: Path, trajectories: Path, out: Path, steps: int):
        self.name = name
        self.log = out / f"{name}.log"
        context = multiprocessing.get_context("spawn")
        self.turns, turns = context.Pipe()
        job = lap.Job(side=name, config=config, start=start, trajectories=trajectories, out=out / name, steps=steps)
        self.process = context.Process(target=lap.run, args=(job, turns, self.log))
        self.process.start()
        turns.close()  # or its end would never be noticed

    def lap(self) -> dict[str, Any]:
        """Take one step; what it took. Raises ``LineageError`` if the process died."""
        try:
            self.turns.send("step")
            found: dict[str, Any] = self.turns.recv()
        except (EOFError, OSError):
            last = self.log.read_text(encoding="utf-8").strip().splitlines()[-1:]
            raise LineageError(
                f"the side {self.name!r} of the benchmark died: {''.join(last)}; {self.log} tells more"
            ) from None
        return found

    def close(self) -> None:
        """End the side's process."""
        self.turns.close()
        self.process.terminate()
        self.process.join()


def bench(config: Config, start: Path, trajectories: Path, work: Path, *, steps: int, seeds: int) -> dict[str, Any]:
    """Train both sides in turns, ``steps`` steps for each seed; the results. Raises ``LineageError``.

    ``work`` keeps the sides' logs.
    """
    for path in (start, trajectories):
        if not path.exists():
            raise LineageError(f"{path} does not exist; run `{config.command('ingest')}`, and `dvc pull`")
    work.mkdir(parents=True, exist_ok=True)
    runs = [turns(config.model_copy(update={"seed": seed}), start, trajectories, work, steps) for seed in range(seeds)]
    return {
        "profile": config.profile,
        "git": git_commit(),
        "hardware": hardware(),
        "versions": library_versions(),
        "settings": {name: getattr(config, name).model_dump(mode="json") for name in ("planner", "reward", "stage1")},
        "steps": steps,
        "seeds": seeds,
        **summary(runs),
    }


def turns(
    config: Config, start: Path, trajectories: Path, work: Path, steps: int, sides: Sequence[str] = SIDES
) -> dict[str, list[dict[str, Any]]]:
    """The laps of the sides for one seed, the warm-up left out; the last lap was profiled, and is not a timing."""
    total = steps + WARM_UP
    running = [Side(name, config, start, trajectories, work, total) for name in sides]
    laps: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    try:
        for step in range(total + 1):
            for side in running if step % 2 else reversed(running):
                laps[side.name].append(side.lap())
    finally:
        for side in running:
            side.close()
    return {name: found[WARM_UP:] for name, found in laps.items()}


def summary(runs: Sequence[Mapping[str, Sequence[Mapping[str, Any]]]]) -> dict[str, Any]:
    """Medians of each side, the speed-up with its interval over the turns, and how the rewards compare."""
    timed = {side: [lap for run in runs for lap in run[side][:-1]] for side in SIDES}
    sides = {side: measured(timed[side], runs[0][side][-1]) for side in SIDES}
    ratios = [
        math.log(theirs["seconds"]["step"] / ours["seconds"]["step"])
        for ours, theirs in zip(timed["ours"], timed["trl"], strict=True)
    ]
    ratio = mean_interval(ratios)
    curves = {side: [[lap["reward"] for lap in run[side][:-1]] for run in runs] for side in SIDES}
    means = {side: list(map(statistics.fmean, curves[side])) for side in SIDES}
    return {
        "sides": sides,
        "speedup": {name: round(math.exp(value), 4) for name, value in
                    (("mean", ratio.mean), ("low", ratio.low), ("high", ratio.high)) if value is not None},
        "reward_share": round(sum(lap["seconds"]["score"] for lap in timed["ours"])
                              / sum(lap["seconds"]["step"] for lap in timed["ours"]), 6),
        "rewards": {
            "curves": {side: [[round(reward, 6) for reward in run] for run in curves[side]] for side in SIDES},
            "difference": paired_difference(means["ours"], means["trl"]).to_dict() if len(runs) > 1 else None,
            "spread": round(statistics.stdev(means["trl"]), 6) if len(runs) > 1 else None,
        },
        "load": [round(load, 2) for load in os.getloadavg()],
    }  # fmt: skip


def measured(laps: Sequence[Mapping[str, Any]], profiled: Mapping[str, Any]) -> dict[str, Any]:
    """Medians of laps, and the operators of the one that was profiled."""
    seconds = {phase: statistics.median(lap["seconds"][phase] for lap in laps) for phase in ("step", *PHASES)}
    tokens = {kind: statistics.fmean(lap["tokens"][kind] for lap in laps) for kind in ("prompt", "completion")}
    everything = sum(sum(lap["tokens"].values()) for lap in laps)
    return {
        "seconds": {name: round(value, 5) for name, value in seconds.items()},
        "tokens": {name: round(value, 1) for name, value in tokens.items()},
        "tokens_per_second": round(everything / sum(lap["seconds"]["step"] for lap in laps), 1),
        "peak_bytes": max(lap["peak_bytes"] for lap in laps),
        "operators": profiled["operators"],
    }


def require_recordable(steps: int, seeds: int) -> None:
    """Raise ``LineageError`` unless a result may be recorded: one of committed code, of enough steps and seeds."""
    git = git_commit()
    if git["dirty"] is not False:
        raise LineageError(
            "a recorded result names the commit that it measured, and this tree "
            + ("has uncommitted changes" if git["dirty"] else "is no git checkout")
            + "; commit them first, or compare with the recorded result (--check)"
        )
    if steps < MIN_STEPS or seeds < MIN_SEEDS:
        raise LineageError(
            f"{steps} steps and {seeds} seeds are too few to record; ask for at least {MIN_STEPS} and {MIN_SEEDS}, or "
            f"compare with the recorded result (--check)"
        )


def file_of(result: Mapping[str, Any], folder: Path) -> Path:
    """Where a result is recorded: one file per profile and kind of machine."""
    return folder / f"{result['profile']}-{'gpu' if result['hardware']['gpus'] else 'cpu'}.json"


def record(result: Mapping[str, Any], folder: Path) -> Path:
    """Write the result beside those of other profiles and machines, and ``../speed.md`` again; the result's file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = file_of(result, folder)
    write_json(path, result)
    write_page(folder, folder.parent / "speed.md")
    return path


def write_page(results: Path, page: Path) -> None:
    """Write the page from every result in a folder; raises ``LineageError`` for an empty one."""
    template, found = package_data.read("experiments/templates/speed.md.j2"), pages.read(results, "tracer bench")
    pages.write(template, page, results=found, phases=PHASES, goal=GOAL, limit=MAX_REWARD_SHARE)


def regressions(result: Mapping[str, Any], recorded: Mapping[str, Any] | None, tolerance: float = 0.25) -> list[str]:
    """What has become worse than recorded by more than ``tolerance``, and a reward that costs too much.

    The speed-up is compared on any machine; seconds and memory only on the one that was recorded on.
    """
    found = []
    if result["reward_share"] > MAX_REWARD_SHARE:
        found.append(f"the reward takes {result['reward_share']:.2%} of a step, more than {MAX_REWARD_SHARE:.0%}")
    if recorded is None:
        return found
    if recorded["settings"] != result["settings"]:
        return [*found, "the recorded result is of other settings; record a new one (tracer bench without --check)"]
    now, then = result["speedup"]["mean"], recorded["speedup"]["mean"]
    if now < then * (1 - tolerance):
        found.append(f"{now:.2f} times as fast as TRL, recorded were {then:.2f}")
    if recorded["hardware"] == result["hardware"]:
        ours, before = result["sides"]["ours"], recorded["sides"]["ours"]
        for name, value, old in (
            ("seconds per step", ours["seconds"]["step"], before["seconds"]["step"]),
            ("bytes at the peak", ours["peak_bytes"], before["peak_bytes"]),
        ):
            if value > old * (1 + tolerance):
                found.append(f"{value:.4g} {name}, recorded were {old:.4g}")
    return found


def check(result: Mapping[str, Any], folder: Path, tolerance: float = 0.25) -> list[str]:
    """``regressions`` against what is recorded in a folder."""
    path = file_of(result, folder)
    return regressions(result, read_json(path) if path.is_file() else None, tolerance)

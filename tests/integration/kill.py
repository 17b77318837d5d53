"""Kills training at random moments: ``python -m tests.integration.kill FOLDER --kills 10 [--seed 0]``.

Trains both stages of a micro planner once in peace, and once killed with SIGKILL again and again and taken up each
time; exits with 1 unless both leave the same bytes. Libraries are imported once: each attempt is a fork of this
process, which never computes anything itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.planners import micro_config, trajectories, write_base
from tracer.config import Config
from tracer.lineage.digest import finished
from tracer.lineage.step import read_lineage
from tracer.training import stage1, stage2
from tracer.training.checkpoints import WHOLE, last_checkpoint
from tracer.training.heartbeat import read_heartbeat

STAGES = ("stage1", "stage2")
# Six states, two per step: the twelve steps are four epochs, so that the order of the prompts has to be taken up too.
SETTINGS = {"steps": 12, "checkpoint_every": 2, "learning_rate": 2e-3, "pass_rate_samples": 2}
PATIENCE_SECONDS = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    wait(forked(lambda: prepare(folder)))
    calm, killed = (configuration(folder, name) for name in ("calm", "killed"))
    wait(forked(lambda: train(calm, folder)))
    pace, drawn = seconds_a_step(calm), random.Random(arguments.seed)
    # Not in the last steps: a delay on a busy machine may outlast them, and training ends by itself.
    for moment in sorted(drawn.uniform(0, 2 * SETTINGS["steps"] - 4) for _ in range(arguments.kills)):
        report(killed, *kill(killed, folder, moment, delay=drawn.uniform(0, pace)))
    wait(forked(lambda: train(killed, folder)))
    same = True
    for stage in STAGES:
        ours, theirs = (read_lineage(config.out(stage)) for config in (killed, calm))
        same = same and (ours["digest"], ours["output"]) == (theirs["digest"], theirs["output"])
        print(f"{stage}: {theirs['output'][:16]} in peace, {ours['output'][:16]} after the kills")
    return 0 if same else 1


def prepare(folder: Path) -> None:
    write_base(folder / "base", trajectories(folder), image=True, steps=36)


def configuration(folder: Path, name: str) -> Config:
    config = micro_config(folder / "base", image=True, stage1=SETTINGS, stage2=SETTINGS)
    return config.model_copy(update={"build": str(folder / name)})


def train(config: Config, folder: Path) -> None:
    stage1.STAGE.train(config, folder / "trajectories", folder / "base", config.out("stage1"))
    stage2.STAGE.train(config, folder / "trajectories", config.out("stage1"), config.out("stage2"))


def seconds_a_step(config: Config) -> float:
    newest = last_checkpoint(config.out("stage2") / "checkpoints")
    assert newest is not None
    history = json.loads((Path(newest) / "trainer_state.json").read_text())["log_history"]
    return sum(entry["step_time"] for entry in history) / len(history)


def kill(config: Config, folder: Path, moment: float, delay: float) -> tuple[float, float]:
    """Train until ``moment`` (in steps of both stages) and ``delay`` seconds more, then SIGKILL."""
    process = forked(lambda: train(config, folder))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while progress(config) < moment:
        if os.waitpid(process, os.WNOHANG)[0]:
            raise SystemExit(f"training ended by itself before step {moment:.1f}")
        if time.monotonic() > deadline:
            raise SystemExit(f"training did not come to step {moment:.1f} in {PATIENCE_SECONDS:.0f} s")
        time.sleep(0.002)
    time.sleep(delay)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"training ended by itself within {delay:.2f} s of step {moment:.1f}")
    return moment, delay


def progress(config: Config) -> float:
    """Steps done over both stages; a new step's number is only seen once its process has begun it."""
    done = 0.0
    for stage in STAGES:
        if finished(config.out(stage)) is not None:
            done += SETTINGS["steps"]
            continue
        beat = read_heartbeat(config.out(stage))
        return done + (beat["step"] if beat else 0)
    return done


def report(config: Config, moment: float, delay: float) -> None:
    stage = STAGES[finished(config.out("stage1")) is not None]
    beat = read_heartbeat(config.out(stage)) or {"doing": "nothing yet"}
    found = (config.out(stage) / "checkpoints").glob("checkpoint-*")
    writing = [path.name for path in found if not (path / WHOLE).is_file()]
    print(
        json.dumps({"moment": round(moment, 2), "delay": round(delay, 3), "stage": stage, "doing": beat["doing"],
                    "step": beat.get("step"), "half_written": writing}),
        flush=True,
    )  # fmt: skip


def forked(call: Callable[[], None]) -> int:
    """The id of a process that calls a function and ends."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        call()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(process: int) -> None:
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit(f"training failed (status {status}); its last words are above")


if __name__ == "__main__":
    sys.exit(main())

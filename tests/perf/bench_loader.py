"""One epoch of a stage's prompts from ingested shards, without gradient steps: how fast, and in how much memory.

    python -m tests.perf.bench_loader FOLDER

A second epoch is killed with -9 halfway and continued: its second half has to be the first one's, in the same order.
The rows are those that TRL's trainer gets, screenshots decoded, in the order of its sampler.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PROFILE, SEED = "qwen3vl-8b", 0


def epoch(folder: Path, first: int, stop: int | None) -> dict[str, Any]:
    """Load the prompts of an epoch from number ``first`` on; with ``stop``, die there as a machine does."""
    from trl.trainer.utils import RepeatSampler

    from tracer.config import load
    from tracer.planner.plan import PlannerSettings
    from tracer.stored import Stored
    from tracer.training.trl.arguments import dataset

    config = load(PROFILE)
    states = Stored(folder, "train", config.planner.horizon)
    rows = dataset(states, PlannerSettings.of(config.planner), [])
    order = list(RepeatSampler(rows, mini_repeat_count=1, batch_size=1, shuffle=True, seed=SEED))
    seen, half, started = hashlib.sha256(), len(order) // 2, time.perf_counter()
    for number, index in enumerate(order[first:], start=first):
        row = rows[index]
        if number == (stop or -1):
            os.kill(os.getpid(), signal.SIGKILL)
        if number >= half:
            seen.update(json.dumps(row["prompt"]).encode() + row["image"].tobytes())
    return {
        "prompts": len(order), "loaded": len(order) - first, "half": half, "seconds": time.perf_counter() - started,
        "second_half": seen.hexdigest()[:16],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--stop", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.first is not None:
        print(json.dumps(epoch(given.folder, given.first, given.stop)))
        return

    def run(first: int, stop: int | None = None) -> subprocess.CompletedProcess[str]:
        words = [str(given.folder), "--first", str(first), *(["--stop", str(stop)] if stop else [])]
        return subprocess.run([sys.executable, "-m", __spec__.name, *words], stdout=subprocess.PIPE, text=True)

    whole = json.loads(run(0).stdout)
    assert run(0, stop=whole["half"]).returncode == -signal.SIGKILL
    rest = json.loads(run(whole["half"]).stdout)
    size = sum(path.stat().st_size for path in given.folder.glob("*.parquet")) / 10**6
    order = "the same order" if rest["second_half"] == whole["second_half"] else "ANOTHER ORDER"
    print(f"{whole['prompts']} prompts of {size:.0f} MB")
    print(f"  {whole['loaded'] / whole['seconds']:.0f} a second, peak {whole['peak_mb']:.0f} MB")
    print(f"  continued at {whole['half']}: {order}")


if __name__ == "__main__":
    main()

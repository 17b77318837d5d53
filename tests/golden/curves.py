"""Golden curves: the first steps of both stages on the sample data, with one seed and one thread.

    make golden                   # compare with the committed curves
    make golden ARGS=--update     # write them anew

On the kind of processor that they were written on, every figure has to be the same bit for bit; elsewhere within 1e-3.
A change that is meant to alter training writes new curves, and says why in its commit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tracer import json_lines
from tracer.config import load
from tracer.ingestion.ingest import ingest
from tracer.json_files import write_json
from tracer.lineage.provenance import hardware
from tracer.stages import STAGES

GOLDEN = Path(__file__).with_name("curves.json")
TOLERANCE = 1e-3
QUANTITIES = ("reward", "reward_std", "loss", "grad_norm", "entropy")
SETTINGS = [
    f"{stage.name}.{setting}"
    for stage in STAGES
    for setting in ("steps=4", "groups=4", "group_size=4", "max_prompts=10", "pass_rate_samples=2", "warmup=1")
]


def curves(folder: Path) -> dict[str, Any]:
    """Train both stages in an empty folder; the figures of each step, and what they were computed on."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = load("micro", [*SETTINGS, f"build={folder}"])
        ingest(config, config.out("ingest"))
        found = {}
        for stage in STAGES:
            start = Path(config.planner.base) if stage.start == "base" else config.out(stage.start)
            stage.train(config, config.out("ingest"), start, config.out(stage.name))
            rows = json_lines.read(config.out(stage.name) / "metrics.jsonl")
            found[stage.name] = [{name: row[name] for name in QUANTITIES} for row in rows]
    finally:
        torch.set_num_threads(threads)
    return {"processor": processor(), "settings": SETTINGS, "curves": found}


def processor() -> dict[str, str]:
    """What decides the last bits: the processor's model, and the instruction set that torch chose on it."""
    return {"model": str(hardware()["cpu"]), "instructions": torch.backends.cpu.get_cpu_capability()}


def differences(found: dict[str, Any], golden: dict[str, Any]) -> Iterator[str]:
    """Where two results part, as sentences: stage, step, quantity and both values."""
    allowed = 0.0 if found["processor"] == golden["processor"] else TOLERANCE
    for stage, steps in golden["curves"].items():
        for number, (ours, theirs) in enumerate(zip(found["curves"][stage], steps, strict=True), start=1):
            for name, value in theirs.items():
                if not abs(ours[name] - value) <= allowed:
                    yield f"{stage}, step {number}, {name}: {ours[name]!r}, the golden curve has {value!r}"


def main() -> int:
    parser = argparse.ArgumentParser(description="compare the first training steps with the committed curves")
    parser.add_argument("--update", action="store_true", help="write the curves instead of comparing them")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = curves(Path(folder))
    if arguments.update:
        write_json(GOLDEN, found)
        print(f"wrote {GOLDEN}")
        return 0
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    same = found["processor"] == golden["processor"]
    parted = list(differences(found, golden))
    print("\n".join(parted) or f"golden curves: the same {'bit for bit' if same else f'within {TOLERANCE:g}'}")
    return 1 if parted else 0


if __name__ == "__main__":
    sys.exit(main())

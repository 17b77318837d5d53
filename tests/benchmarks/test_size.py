"""``tracer score`` on 100,000 predictions: seconds of processor time and memory, in a process of its own."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

COUNT = 100_000
PROGRAM = """
import json, re, sys, time
from pathlib import Path
from tracer.scoring.score import score
folder = Path(sys.argv[1])
done = score("android_control", "p1-high-8444", folder / "i.jsonl", folder / "p.jsonl", folder / "out")
# Not ru_maxrss: after a fork it starts at what the test session itself had used.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
print(json.dumps({"seconds": time.process_time(), "megabytes": int(peak[1]) / 1024, "items": done["metrics"]["items"]}))
"""


@pytest.mark.slow
def test_a_hundred_thousand_predictions(tmp_path: Path) -> None:
    rng = random.Random(0)
    predictions = []
    with (tmp_path / "i.jsonl").open("w") as items:
        for number in range(COUNT):
            episode, step = divmod(number, 6)
            action = {"action_type": "click", "x": rng.randrange(1080), "y": rng.randrange(2400)}
            row = {"id": f"episode_{episode}_screenshot_{step}", "episode": episode, "step": step, "steps": 6}
            row |= {"goal": "a goal of some length " * 4, "width": 1080, "height": 2400, "action": action}
            items.write(json.dumps(row) + "\n")
            click = {"type": "click", "x": rng.random(), "y": rng.random()}
            predictions.append(json.dumps({"id": row["id"], "action": click}) + "\n")
    rng.shuffle(predictions)
    (tmp_path / "p.jsonl").write_text("".join(predictions))
    ran = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    assert found["items"] == COUNT
    # Processor time, so that a busy machine does not decide.
    assert found["seconds"] < 20
    assert found["megabytes"] < 500

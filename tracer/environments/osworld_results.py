"""The results folder of OSWorld's runner: one folder a task, ``<domain>/<task id>``.

traj.jsonl            a line a step: the action, its time, the picture of the screen after it
step_<n>_<time>.png   that picture
result.txt            what the evaluator gave, once the task has ended
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from tracer import json_lines

RESULT, TRAJECTORY = "result.txt", "traj.jsonl"


class TaskResults:
    """The folder of one task that is being played; what an unfinished try left there is deleted first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._steps = 0
        folder.mkdir(parents=True, exist_ok=True)
        for name in (RESULT, TRAJECTORY, "step_*.png"):
            for path in folder.glob(name):
                path.unlink()

    def step(self, code: str, response: str, screenshot: bytes, done: bool, info: Any) -> None:
        """Add a step."""
        self._steps += 1
        moment = f"{datetime.now():%Y%m%d@%H%M%S%f}"
        picture = self._folder / f"step_{self._steps}_{moment}.png"
        picture.write_bytes(screenshot)
        line = {
            "step_num": self._steps, "action_timestamp": moment, "action": code, "response": response, "reward": 0,
            "done": done, "info": info, "screenshot_file": picture.name,
        }  # fmt: skip
        with open(self._folder / TRAJECTORY, "ab") as file:
            file.write(json_lines.one(line))

    def end(self, score: float) -> None:
        """Write down what the evaluator gave."""
        (self._folder / RESULT).write_text(f"{score}\n", encoding="utf-8")

"""What a training run tells while it trains, for who waits for it or watches it: ``logs/heartbeat.json``."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.json_files import read_json
from tracer.training import processes

log = logging.getLogger(__name__)
HEARTBEAT = Path("logs") / "heartbeat.json"
SAY_EVERY_SECONDS = 30.0


class Heartbeat:
    """``logs/heartbeat.json`` of a stage's folder: the step, what it is at, when that was, and the last step's metrics.

    A line of the log goes with it at most every 30 seconds: pipelines/supervisor.py ends a run that says nothing.
    """

    def __init__(self, out: Path, steps: int):
        self.path = out / HEARTBEAT
        self.steps = steps
        self.step = 0
        self.metrics: Mapping[str, float] = {}
        self._said = time.monotonic()
        if processes.main():
            self.path.parent.mkdir(parents=True, exist_ok=True)

    def beat(self, doing: str, step: int | None = None) -> None:
        """Say that the run lives. Written whole or not at all, but not forced to the disk: it is only about now."""
        if not processes.main():
            return
        self.step = self.step if step is None else step
        found = {"step": self.step, "steps": self.steps, "doing": doing, "time": time.time(), "pid": os.getpid()}
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({**found, "metrics": self.metrics}), encoding="utf-8")
        os.replace(temporary, self.path)
        if time.monotonic() - self._said > SAY_EVERY_SECONDS:
            self._said = time.monotonic()
            log.info("step %d of %d: %s", self.step, self.steps, doing)


def read_heartbeat(out: Path) -> dict[str, Any] | None:
    """The last heartbeat of a stage's folder, with its age in seconds; None before the first."""
    path = out / HEARTBEAT
    if not path.is_file():
        return None
    beat: dict[str, Any] = read_json(path, "time")
    return {**beat, "age": time.time() - beat["time"]}

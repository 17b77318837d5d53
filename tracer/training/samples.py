"""Rollouts kept for people to look at: what the planner answered while it was trained, with the screenshot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.training import processes
from tracer.training.settings import GrpoConfig


class SampleLog:
    """Writes the first ``log_samples`` rollouts of every tenth of the training to ``samples/step-<n>.jsonl``.

    One file per step, so that a resumed run writes the same files again instead of more lines.
    """

    def __init__(self, out: Path, stage: GrpoConfig):
        self.folder = out / "samples"
        self.count = stage.log_samples
        self.every = max(1, stage.steps // 10)

    def add(self, step: int, states: Sequence[Any], texts: Sequence[str], scored: Sequence[Any]) -> None:
        """Keep some rollouts of a step, if it is one of those that are kept."""
        if step % self.every or not self.count or not processes.main():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for state, text, score in list(zip(states, texts, scored, strict=True))[: self.count]:
            picture = None
            if state.state.image is not None:
                picture = f"{state.trajectory}-{state.step}".replace("/", "-") + ".webp"
                (self.folder / picture).write_bytes(state.state.image)
            rows.append(
                {
                    "step": step,
                    "trajectory": state.trajectory,
                    "index": state.step,
                    "goal": state.state.goal,
                    "answer": text,
                    "reward": score.total,
                    "parts": dict(score.parts),
                    "parsed": score.reading.forecast is not None,
                    "error": score.reading.error,
                    "picture": picture,
                }
            )
        json_lines.write(self.folder / f"step-{step:05d}.jsonl", rows)

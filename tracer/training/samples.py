"""Rollouts kept for people to look at: what the planner answered while it was trained, with the screenshot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.training import processes
from tracer.training.settings import GrpoConfig


class SampleLog:
    """Writes the first ``log_samples`` rollouts of step 0, 10, 20, ... to ``samples/step-<n>.jsonl``.

    A training of fewer than a hundred steps has them at every tenth of it. One file per step, so that a resumed run
    writes the same files again instead of more lines. ``live``: MLflow gets each as a table of the active run.
    """

    def __init__(self, out: Path, stage: GrpoConfig, live: bool = False):
        self.folder = out / "samples"
        self.count = stage.log_samples
        self.every = min(10, max(1, stage.steps // 10))
        self.live = live

    def add(
        self, step: int, states: Sequence[Any], prompts: Sequence[str], texts: Sequence[str], scored: Sequence[Any]
    ) -> None:
        """Keep some rollouts of a step, if it is one of those that are kept."""
        if step % self.every or not self.count or not processes.main():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for state, prompt, text, score in list(zip(states, prompts, texts, scored, strict=True))[: self.count]:
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
                    "prompt": prompt,
                    "answer": text,
                    "reward": score.total,
                    "parts": dict(score.parts),
                    "parsed": score.reading.forecast is not None,
                    "error": score.reading.error,
                    "picture": picture,
                }
            )
        json_lines.write(self.folder / f"step-{step:05d}.jsonl", rows)
        if self.live:
            self._show(f"rollouts/step-{step:05d}.json", rows)

    def _show(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        import mlflow

        # A resumed run samples the same again, and MLflow would append it.
        there = mlflow.MlflowClient().list_artifacts(mlflow.active_run().info.run_id, "rollouts")
        if name not in {each.path for each in there}:
            mlflow.log_table(table(self.folder, rows), name)


def table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rollouts as the columns of a table of MLflow's, screens included; those columns that every row has."""
    import mlflow
    from PIL import Image

    columns: dict[str, list[Any]] = {}
    for row in rows:
        for key, value in row.items():
            column = columns.setdefault(key, [])
            if key == "picture" and value:
                with Image.open(folder / value) as picture:
                    column.append(mlflow.Image(picture.convert("RGB")))
            else:
                column.append(value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False))
    return {key: column for key, column in columns.items() if len(column) == len(rows)}

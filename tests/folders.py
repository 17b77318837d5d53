"""Step folders for tests of the registry: written by the real ``run_step``, around contents that take no training."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.action import Action
from tracer.config import Config
from tracer.dataset import write_shards
from tracer.json_files import write_json
from tracer.lineage.step import run_step
from tracer.trajectory import Step, Trajectory

STATES = 120


def step(name: str, config: Config, out: Path, inputs: Mapping[str, Path], files: Mapping[str, Any]) -> Path:
    """A finished folder of a step: ``files`` maps names to bytes, or to a value that becomes JSON (a list: lines)."""

    def body(folder: Path) -> dict[str, Any]:
        for file, content in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif isinstance(content, list):
                path.write_text("".join(json.dumps(row) + "\n" for row in content))
            else:
                write_json(path, content)
        return {"files": len(files)}

    # What a real step computes from its inputs is told here by its contents.
    found = (
        {"files": sorted((file, str(content)) for file, content in files.items())}
        if name.startswith(("ingest", "stage"))
        else {}
    )
    run_step(name, config=found, inputs=inputs, out=out, module="tracer.json_lines", body=body, seed=config.seed)
    return out


def results(right: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of an offline evaluation, three states per trajectory."""
    return [
        {"trajectory": f"t/{index // 3}", "step_index": index % 3, "split": "test", "step": value, "parsed": 1.0}
        for index, value in enumerate(right)
    ]


def episodes(right: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of an online evaluation."""
    return [
        {"strategy": strategy, "task": f"page-{index % 4}", "seed": index // 4, "success": value}
        for strategy in ("anticipatory", "react")
        for index, value in enumerate(right)
    ]


def weights(number: int) -> bytes:
    """A safetensors file of one small tensor."""
    import numpy as np
    from safetensors.numpy import save

    return save({"weight": np.full((2, 2), float(number), dtype=np.float32)})


def shard(names: Sequence[str]) -> bytes:
    """A shard of test episodes, each of one click, named ``page/...``."""
    click = Step(action=Action.of("click", x=0.5, y=0.5), instruction="click")
    every = [
        Trajectory(id=name, source="jsonl", split="test", task=name.partition("/")[0], goal=name, outcome="success",
                   steps=(click,))
        for name in names
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        return write_shards(every, Path(temporary))[0].read_bytes()


class Chain:
    """A chain of step folders below ``config.folder``, from raw data to the evaluations."""

    def __init__(self, config: Config, episodes: Sequence[str] = ("page/0", "page/1")):
        self.config = config
        raw = Path(config.data.path)
        raw.mkdir(parents=True, exist_ok=True)
        (raw / "episodes.jsonl").write_text("{}\n")
        base = Path(config.planner.base)
        base.mkdir(parents=True, exist_ok=True)
        (base / "model.safetensors").write_bytes(weights(0))
        self.ingest = step(
            "ingest", config, config.out("ingest"), {"raw": raw}, {"test-00000.parquet": shard(episodes)}
        )
        inputs = {"trajectories": self.ingest}
        self.validate = step("validate", config, config.out("validate"), inputs, {"validation.json": {"success": True}})

    def stage2(
        self, number: int, right: Sequence[float], online: Sequence[float], open: bool = True
    ) -> dict[str, Path]:
        """Stages 1 and 2 whose weights are ``number``, and the evaluations of stage 2."""
        config, model = self.config, {"model/model.safetensors": weights(number), "model/config.json": {}}
        history = [{"reward": 0.1 * number, "dead_groups": 0.5}, {"reward": 0.2 * number}]
        one = step(
            "stage1", config, config.out("stage1"), {"trajectories": self.ingest, "base": Path(config.planner.base)},
            {**model, "metrics.jsonl": history},
        )  # fmt: skip
        two = step(
            "stage2", config, config.out("stage2"), {"trajectories": self.ingest, "stage1": one},
            {**model, "metrics.jsonl": history},
        )  # fmt: skip
        gate = {"gate.json": {"open": open, "checks": []}}
        inputs = {"stage": two, "parent": one, "trajectories": self.ingest}
        return {
            **self.evaluations("stage2", two, right, online),
            "validate": self.validate,
            "gate": step("gate-stage2", config, config.out("gate-stage2"), inputs, gate),
        }

    def base(self, right: Sequence[float], online: Sequence[float]) -> dict[str, Path]:
        return self.evaluations("base", Path(self.config.planner.base), right, online)

    def evaluations(self, name: str, model: Path, right: Sequence[float], online: Sequence[float]) -> dict[str, Path]:
        config = self.config
        scores = {"scores.json": {"splits": {"test": {"metrics": {"step": {"mean": sum(right) / len(right)}}}}}}
        offline = step(
            "evaluate", config, config.out(f"evaluate-{name}"), {"trajectories": self.ingest, "model": model},
            {**scores, "results.jsonl": results(right)},
        )  # fmt: skip
        played = (
            {"scores.json": {}, "results.jsonl": episodes(online)}
            if online
            else {"scores.json": {"skipped": "no browser"}}
        )
        return {
            "evaluate": offline,
            "online": step("online", config, config.out(f"online-{name}"), {"model": model}, played),
        }

"""The gate behind a training stage: what has to hold before the next step may build on its weights.

``weights_changed`` catches an adapter that was never applied, ``reload`` one that is applied twice or a file that does
not hold what was trained, ``unparsable`` and ``dead_groups`` a reward that had nothing to choose from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.lineage import read, run_step, verify, write_json

GATE = "gate.json"
CURVE = "curve.json"  # the stage's metrics.jsonl as one document, which DVC plots
CHECKS = ("weights_changed", "reload", "unparsable", "dead_groups")


class GateError(RuntimeError):
    """A closed gate; the message names each check that failed, its value and its limit."""


def gate(config: Config, stage: Path, parent: Path, trajectories: Path, out: Path) -> dict[str, Any]:
    """Check a training stage's folder against what it started from; write ``gate.json`` and return the lineage.

    A closed gate is a result and no error: ``require`` raises for it.
    """
    return run_step(
        f"gate-{read(stage)['step']}",
        config={
            "gates": config.gates.model_dump(),
            "planner": config.planner.model_dump(exclude={"base", "max_prompt_tokens"}),
            "reward": config.reward.model_dump(),
            "grounding": config.grounding.model_dump(),
        },
        inputs={"stage": stage, "parent": parent, "trajectories": trajectories},
        out=out,
        module=__name__,
        body=lambda folder: _gate(config, stage, parent, trajectories, folder),
        seed=config.seed,
    )


def require(out: Path) -> None:
    """Raise ``GateError`` if the gate in a folder is closed."""
    failed = [check for check in results(out) if not check["passed"]]
    if failed:
        raise GateError(f"the gate {out} is closed: " + "; ".join(check["description"] for check in failed))


def results(out: Path) -> list[dict[str, Any]]:
    """The checks of a gate: name, passed, value, limit, description."""
    return list(json.loads((out / GATE).read_text())["checks"])


def _gate(config: Config, stage: Path, parent: Path, trajectories: Path, out: Path) -> Mapping[str, Any]:
    trained = verify(stage)
    metrics, limits = trained["metrics"], config.gates
    changed, tensors = changes(stage / "model", parent)
    again = probe(config, trained["step"], stage, trajectories)
    apart = abs(again - metrics["probe"])
    # With every group dead the gradient is zero by construction, and dead_groups is the check that says so.
    nothing_to_learn = metrics["dead_groups"] == 1.0
    checks = [
        check(
            "weights_changed", changed > 0 or nothing_to_learn, changed, 1,
            f"{changed} of {tensors} tensors differ from those the stage began with",
        ),
        check(
            "reload", apart <= limits.probe_tolerance, again, metrics["probe"],
            f"a fresh load scores {again:.6f} on the probe, training ended with {metrics['probe']:.6f}",
        ),
        check(
            "unparsable", metrics["unparsable"] <= limits.max_unparsable, metrics["unparsable"], limits.max_unparsable,
            f"{metrics['unparsable']:.1%} of the sampled forecasts do not parse (limit {limits.max_unparsable:.0%})",
        ),
        check(
            "dead_groups", metrics["dead_groups"] <= limits.max_dead_groups, metrics["dead_groups"],
            limits.max_dead_groups,
            f"{metrics['dead_groups']:.1%} of the groups are dead (limit {limits.max_dead_groups:.0%})",
        ),
    ]  # fmt: skip
    passed = all(item["passed"] for item in checks)
    write_json(out / GATE, {"open": passed, "checks": checks})
    rows = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    write_json(out / CURVE, [{"step": number, **row} for number, row in enumerate(rows, start=1)])
    return {"open": passed, **{item["name"]: item["value"] for item in checks}}


def check(name: str, passed: bool, value: float, limit: float, description: str) -> dict[str, Any]:
    return {"name": name, "passed": bool(passed), "value": value, "limit": limit, "description": description}


def changes(model: Path, parent: Path) -> tuple[int, int]:
    """How many tensors of a model differ from its parent's, and how many it has. An adapter's B starts as zeros."""
    start = parent / "model" if (parent / "model").is_dir() else parent
    adapter = (model / "adapter_config.json").is_file()
    before = {} if adapter else dict(_tensors(start))
    changed = total = 0
    for name, tensor in _tensors(model):
        total += 1
        if adapter:
            changed += "lora_B" in name and bool(tensor.any())
        else:
            other = before.get(name)
            changed += other is None or other.shape != tensor.shape or not bool((other == tensor).all())
    return changed, total


def _tensors(folder: Path) -> Iterator[tuple[str, Any]]:
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - safe_open is no mapping
                yield name, file.get_tensor(name)


def probe(config: Config, step: str, stage: Path, trajectories: Path) -> float:
    """The probe that the stage ended with, made again from its files. Both are greedy and see the same states."""
    from tracer.planner.transformers import TransformersPlanner
    from tracer.training import grpo, stage1, stage2

    score = {"stage1": stage1, "stage2": stage2}[step].scorer(config)
    return float(grpo.probe(TransformersPlanner.load(stage), score, trajectories, config))

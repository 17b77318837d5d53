"""The gate behind a training stage: what has to hold before the next step may build on its weights.

The saved planner is loaded afresh. ``differs_from_base`` catches an adapter that was never applied,
``reproduces_score`` one that is applied twice or a file that does not hold what was trained (the score it is held to
was measured before anything was saved), ``unparsable`` and ``dead_groups`` a reward that had nothing to choose from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.config import Config
from tracer.json_files import flatten, read_json, write_json
from tracer.lineage import why
from tracer.lineage.step import read_lineage, run_step, verify_output
from tracer.settings import ConfigError
from tracer.training.stage import Stage
from tracer.trajectory import State

GATE = "gate.json"
CURVE = "curve.json"  # the stage's metrics.jsonl as one document, which DVC plots
CHECKS = ("differs_from_base", "reproduces_score", "unparsable", "dead_groups")
PROBES = 16


class GateError(RuntimeError):
    """A closed gate; the message names each check that failed, its value and its limit."""


def gate(config: Config, stage: Stage, trained: Path, start: Path, trajectories: Path, out: Path) -> dict[str, Any]:
    """Check the folder of a trained stage against what it started from; write ``gate.json`` and return the lineage.

    A closed gate is a result and no error: ``require`` raises for it.
    """

    def body(folder: Path) -> Mapping[str, Any]:
        return _gate(config, stage, trained, start, trajectories, folder)

    return run_step(out=out, body=body, **recipe(config, stage, trained, start, trajectories))


def recipe(config: Config, stage: Stage, trained: Path, start: Path, trajectories: Path) -> dict[str, Any]:
    """What the digest of a stage's gate is made of, as ``run_step`` takes it."""
    return {
        "name": stage.gate,
        "config": {
            "gates": config.gates.model_dump(),
            "planner": config.planner.model_dump(exclude={"base", "max_prompt_tokens"}),
            **stage.rules(config),
        },
        "inputs": {"stage": trained, "parent": start, "trajectories": trajectories},
        "module": __name__,
        "plugins": [stage.module, *stage.plugins(config)],  # the reward, which this module reaches through the record
        "seed": config.seed,
    }


def require(out: Path) -> None:
    """Raise ``GateError`` if the gate in a folder is closed."""
    failed = [check for check in results(out) if not check["passed"]]
    if failed:
        raise GateError(f"the gate {out} is closed: " + "; ".join(check["description"] for check in failed))


def results(out: Path) -> list[dict[str, Any]]:
    """The checks of a gate: name, passed, value, limit, description."""
    return list(read_json(out / GATE, "checks")["checks"])


def _gate(config: Config, stage: Stage, trained: Path, start: Path, trajectories: Path, out: Path) -> Mapping[str, Any]:
    metrics, limits = verify_output(trained)["metrics"], config.gates
    checks = [
        *saved(config, stage, trained, start, trajectories),
        _check(
            "unparsable", metrics["unparsable"] <= limits.max_unparsable, metrics["unparsable"], limits.max_unparsable,
            f"{metrics['unparsable']:.1%} of the sampled forecasts do not parse (limit {limits.max_unparsable:.0%})",
        ),
        _check(
            "dead_groups", metrics["dead_groups"] <= limits.max_dead_groups, metrics["dead_groups"],
            limits.max_dead_groups,
            f"{metrics['dead_groups']:.1%} of the groups are dead (limit {limits.max_dead_groups:.0%})",
        ),
    ]  # fmt: skip
    passed = all(item["passed"] for item in checks)
    write_json(out / GATE, {"open": passed, "checks": checks})
    rows = json_lines.read(trained / "metrics.jsonl")
    write_json(out / CURVE, [{"step": number, **row} for number, row in enumerate(rows, start=1)])
    return {"open": passed, **{item["name"]: item["value"] for item in checks}}


def saved(config: Config, stage: Stage, trained: Path, start: Path, trajectories: Path) -> list[dict[str, Any]]:
    """Is what was saved what was trained? The first two checks of a finished stage, as ``results`` gives them.

    Raises ``LineageError`` for an unfinished stage, or a data set without states of the split ``validation``, and
    ``ConfigError`` if the configuration is not what it was trained with.
    """
    _require_same_settings(recipe(config, stage, trained, start, trajectories)["config"], trained)
    from tracer.planner.transformers import TransformersPlanner
    from tracer.training import probe
    from tracer.training.start import settings_for

    metrics, tolerance, score = read_lineage(trained)["metrics"], config.gates.probe_tolerance, stage.scorer(config)
    held_out = probe.held_out(trajectories, config.planner.horizon)
    states = [item.state for item in probe.sample(held_out, PROBES, config.seed + 1)]
    planner = TransformersPlanner.load(trained)
    again = float(probe.probe(planner, score, probe.sample(held_out, probe.STATES, config.seed)))
    after, answers = _behaviour(planner, states)
    del planner  # two planners of full size do not fit
    before, first = _behaviour(TransformersPlanner.load(start, settings_for(config, start)), states)
    moved = float((after - before).abs().max())
    changed = sum(a != b for a, b in zip(answers, first, strict=True))
    # With every group dead the gradient is zero by construction, and the start is what has to come out.
    dead = metrics["dead_groups"] == 1.0
    return [
        _check(
            "differs_from_base", (moved == 0.0) if dead else moved > 0.0, moved, 0.0,
            f"on {len(states)} held-out states the log-probabilities of the first token moved by up to {moved:.3g}, "
            f"and {changed} greedy answers changed" + (" (every group was dead: none may have)" if dead else ""),
        ),
        _check(
            "reproduces_score", abs(again - metrics["probe"]) <= tolerance, again, metrics["probe"],
            f"loaded afresh it scores {again:.6f} on the probe, training ended with {metrics['probe']:.6f} "
            f"(tolerance {tolerance:g})",
        ),
    ]  # fmt: skip


def _require_same_settings(asked: Mapping[str, Any], trained: Path) -> None:
    """Raise ``ConfigError`` for settings that change a score, and are not those that the stage was trained with."""
    then, now = (flatten(json.loads(json.dumps(value))) for value in (read_lineage(trained)["config"], asked))
    changed = [
        f"{name} was {why.shown(old)} and is now {why.shown(new)}"
        for name, (old, new) in why.changes(then, now)
        if name in then and name in now
    ]
    if changed:
        raise ConfigError(
            f"{trained} was trained with other settings: {', '.join(changed)}; give the same ones, or train it again"
        )


def _check(name: str, passed: bool, value: float, limit: float, description: str) -> dict[str, Any]:
    return {"name": name, "passed": bool(passed), "value": value, "limit": limit, "description": description}


def _behaviour(planner: Any, states: Sequence[State]) -> tuple[Any, list[str]]:
    """The log-probabilities (states, vocabulary) of an answer's first token, and the greedy answers."""
    import torch

    rows = []
    with torch.inference_mode():
        for state in states:  # one by one: padding would move the last bits
            inputs = planner.encode([state]).to(planner.model.device)
            inputs.pop("token_type_ids", None)
            rows.append(planner.model(**inputs, logits_to_keep=1).logits[0, -1].float().log_softmax(-1).cpu())
    return torch.stack(rows), planner.answer(states)

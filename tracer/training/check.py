"""After a stage: is what was saved what was trained?

Both checks load the saved planner afresh. An adapter that was never applied behaves as its base does; one that is
applied twice, or files that hold something else, do not give the score that training ended with.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.lineage import LineageError, read
from tracer.trajectory import State

PROBES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was measured, against which limit, in words."""

    name: str
    passed: bool
    value: float
    limit: float
    description: str


def check_stage(config: Config, stage: str, out: Path, start: Path, trajectories: Path) -> list[Finding]:
    """The checks of a finished stage's folder against the planner it started from.

    Raises ``LineageError`` for an unfinished stage, or a data set without held-out states.
    """
    from tracer.planner.transformers import TransformersPlanner
    from tracer.training import grpo, stage1, stage2

    metrics = read(out)["metrics"]
    saved = TransformersPlanner.load(out)
    score = {"stage1": stage1, "stage2": stage2}[stage].scorer(config)
    again = grpo.probe(saved, score, trajectories, config)
    states = _probes(config, trajectories)
    after, answers = _behaviour(saved, states)
    del saved  # two planners of full size do not fit
    before, first = _behaviour(TransformersPlanner.load(start, grpo.settings_for(config, start)), states)
    moved = float((after - before).abs().max())
    changed = sum(a != b for a, b in zip(answers, first, strict=True))
    # With every group dead there was nothing to learn, and the base is what has to come out.
    dead = metrics["dead_groups"] == 1.0
    apart, tolerance = abs(again - metrics["probe"]), config.gates.probe_tolerance
    return [
        Finding(
            name="differs_from_base",
            passed=(moved == 0.0) if dead else moved > 0.0,
            value=moved,
            limit=0.0,
            description=f"on {len(states)} held-out states the log-probabilities of the first token moved by up to "
            f"{moved:.3g}, and {changed} greedy answers are others than the base's"
            + (" (every group was dead: nothing may have moved)" if dead else ""),
        ),
        Finding(
            name="reproduces_score",
            passed=apart <= tolerance,
            value=again,
            limit=metrics["probe"],
            description=f"loaded afresh it scores {again:.6f} on the probe, training reported {metrics['probe']:.6f} "
            f"(tolerance {tolerance:g})",
        ),
    ]


def _probes(config: Config, trajectories: Path) -> list[State]:
    from tracer.training import grpo

    found = [item.state for item in grpo.prompts_of(trajectories, "validation", config.planner.horizon)]
    if not found:
        raise LineageError(f"{trajectories} has no state in the split 'validation' to probe on")
    return random.Random(config.seed + 1).sample(found, min(PROBES, len(found)))


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

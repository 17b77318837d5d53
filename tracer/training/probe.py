"""The probe: a trained planner's greedy score on a few held-out states, which a fresh load has to reproduce."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from tracer.examples import Example
from tracer.lineage.digest import LineageError
from tracer.planner.lora import is_adapter
from tracer.planner.transformers import TransformersPlanner
from tracer.stored import Stored
from tracer.training.score import Score

STATES = 64


def held_out(trajectories: Path, horizon: int) -> Stored:
    """The states of the split ``validation``; raises ``LineageError`` if there are none."""
    found = Stored(trajectories, "validation", horizon)
    if not found:
        raise LineageError(f"{trajectories} has no state in the split 'validation' to probe on")
    return found


def sample(prompts: Sequence[Example], most: int, seed: int) -> list[Example]:
    """At most ``most`` of the prompts, drawn with the seed."""
    return random.Random(seed).sample(prompts, min(most, len(prompts)))


def probe(planner: TransformersPlanner, score: Score, prompts: Sequence[Example]) -> float:
    """The mean reward of the planner's greedy answers."""
    answers = planner.answer([prompt.state for prompt in prompts])
    return sum(score(prompt, text).total for prompt, text in zip(prompts, answers, strict=True)) / len(prompts)


def reload(weights: Mapping[str, torch.Tensor], out: Path) -> TransformersPlanner:
    """The planner that was saved in ``out``, once the shards of it are freed. ``weights`` are what it has to hold.

    Raises ``LineageError`` if it holds others.
    """
    from transformers.integrations import unset_hf_deepspeed_config

    torch.cuda.empty_cache()
    unset_hf_deepspeed_config()  # or loading would wait for the other processes
    planner = TransformersPlanner.load(out / "model")
    found = planner.model.state_dict()
    if is_adapter(planner.model):
        from peft import get_peft_model_state_dict

        found, weights = (get_peft_model_state_dict(planner.model, state) for state in (found, dict(weights)))
    wrong = [name for name, value in weights.items() if not torch.equal(found[name].cpu(), value.cpu())]
    if wrong or not weights:
        raise LineageError(f"{out} does not contain what was trained: {len(wrong)} weights differ, {wrong[:3]}")
    return planner

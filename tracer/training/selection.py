"""Which states a stage trains on: those whose sampled rewards disagree, so that their groups teach something."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from pathlib import Path

from tracer.examples import Example
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import LineageError
from tracer.planner.transformers import TransformersPlanner
from tracer.progress import bar
from tracer.reward import dead
from tracer.settings import ConfigError
from tracer.stored import Stored
from tracer.training import processes
from tracer.training.heartbeat import Heartbeat
from tracer.training.score import Objective
from tracer.training.trl import groups

log = logging.getLogger(__name__)
CHOICE = Path("checkpoints") / "choice.json"


def select(
    objective: Objective,
    planner: TransformersPlanner,
    prompts: Stored,
    seed: int,
    out: Path,
    heartbeat: Heartbeat,
) -> Stored:
    """The prompts to train on: ``max_prompts`` drawn with the seed, less those whose rollouts all earn the same.

    The choice is kept beside the checkpoints, so that a killed run does not sample for it again. Raises
    ``LineageError`` if there is no prompt, ``ConfigError`` if there are too few for one step.
    """
    stage = objective.options
    if stage.max_prompts is not None and stage.max_prompts < len(prompts):
        prompts = prompts.taken(random.Random(seed).sample(range(len(prompts)), stage.max_prompts))
    if not prompts:
        raise LineageError("no state to train on: the data set's split 'train' is empty")
    if len(prompts) < stage.groups:
        raise ConfigError(
            f"{len(prompts)} states cannot fill a step of {stage.groups} groups; lower groups, or raise max_prompts"
        )
    if not stage.pass_rate_samples:
        return prompts
    # One process decides: the others' arithmetic may differ in the last bit, and their prompts must not.
    chosen: list[int] = []
    if processes.main():
        kept = load_choice(out)
        if kept is None:
            answers = rollouts(planner, prompts, objective, heartbeat)
            rewards = [
                [scored.total for scored in objective.scored([prompt] * len(texts), texts)]
                for prompt, texts in zip(prompts, answers, strict=True)
            ]
            kept = [index for index, group in enumerate(rewards) if not dead(group)]
            save_choice(out, kept)
        chosen = kept
    found = prompts.taken(processes.agree(chosen))
    log.info("%d of %d states have rollouts that disagree; training on those", len(found), len(prompts))
    return found if len(found) >= stage.groups else prompts


def rollouts(
    planner: TransformersPlanner, prompts: Sequence[Example], objective: Objective, heartbeat: Heartbeat
) -> list[list[str]]:
    """``pass_rate_samples`` sampled answers to each prompt, no longer than the reward reads them."""
    stage = objective.options
    size, texts = stage.pass_rate_samples, list[str]()
    log.info(
        "selecting among %d states, by %d answers to each; if this is interrupted, it begins anew", len(prompts), size
    )
    with bar("selecting states", len(prompts)) as shown:
        for start in range(0, len(prompts), planner.batch_size):
            heartbeat.beat(f"selecting: state {start} of {len(prompts)}", 0)
            states = [prompt.state for prompt in prompts[start : start + planner.batch_size]]
            inputs = planner.encode(states).to(planner.model.device)
            inputs.pop("token_type_ids", None)
            ends = planner.ends(objective.reads)
            tokens = groups.sample(
                planner.model,
                dict(inputs),
                size=size,
                max_new_tokens=planner.settings.max_new_tokens,
                temperature=stage.temperature,
                eos=ends,
                pad=planner.tokenizer.pad_token_id,
                answers=planner.constraint.answers([state for state in states for _ in range(size)], ends)
                if planner.settings.constrain == "always"
                else None,
            )
            texts += planner.tokenizer.batch_decode(tokens, skip_special_tokens=True)
            done = min(start + planner.batch_size, len(prompts))
            left = shown.seconds / done * (len(prompts) - done)
            shown.advance(len(states), f"{left / 60:.0f} min left")
    return [texts[index : index + size] for index in range(0, len(texts), size)]


def save_choice(out: Path, chosen: list[int]) -> None:
    """Keep which states were chosen to train on."""
    (out / CHOICE).parent.mkdir(parents=True, exist_ok=True)
    write_json(out / CHOICE, chosen)


def load_choice(out: Path) -> list[int] | None:
    """The kept choice, or None if there is none."""
    path = out / CHOICE
    return read_json(path) if path.is_file() else None

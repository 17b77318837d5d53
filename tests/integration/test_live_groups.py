"""``dead_groups: skip``: the update is that of the live groups alone, whatever the loss and the rest of the batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.planners import micro_config, trajectories, write_base
from tracer.dataset import read
from tracer.examples import Example, examples
from tracer.grammars.reading import Reading
from tracer.planner.transformers import TransformersPlanner
from tracer.stages import STAGES
from tracer.training.score import Objective, Scored
from tracer.training.trl.live_groups import live
from tracer.training.trl.trainer import build

SIZE = 4


def test_a_group_is_live_where_an_advantage_is_more_than_rounding() -> None:
    advantages = torch.tensor([0.0, 0.0, 1.0, -1.0, 1e-4, -1e-4])
    assert live(advantages, 2).tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize("loss", ["grpo", "dr_grpo", "dapo", "bnpo"])
@pytest.mark.parametrize("dead", [1, 2], ids=["one dead", "all dead"])
def test_the_update_is_that_of_the_live_groups_alone(tmp_path: Path, loss: str, dead: int) -> None:
    shards = trajectories(tmp_path)
    base = write_base(tmp_path / "base", shards, image=True, steps=6)
    options = {"groups": 2, "group_size": SIZE, "kl": 0.1, "loss": loss, "dead_groups": "skip"}
    config = micro_config(base, image=True, stage1=options)
    planner = TransformersPlanner.load(base, dtype="float32", trainable=True)
    states = list(examples(read(shards, split="train"), config.planner.horizon))[:2]
    living = {state.key for state in states[dead:]}

    def score(prompt: Example, answer: str) -> Scored:
        reward = float(len(answer) + answer.count("e")) if prompt.key in living else 1.0
        return Scored(parts={"length": reward}, reading=Reading(forecast=None))

    objective = Objective(name="stage1", options=STAGES[0].options(config), parts=("length",), score=score, reads=2)
    trainer = build(config, objective, planner, states, tmp_path / "out")
    trainer.current_gradient_accumulation_steps = 1
    planner.model.train()
    batch = next(iter(trainer.get_train_dataloader()))
    made = trainer._generate_and_score_completions(batch)
    with torch.no_grad():  # away from where training starts, so that the KL term is not nothing
        for weight in planner.model.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)), alpha=1e-3)
    found = gradient(trainer, made)
    if dead == 2:
        assert made["completion_mask"].any() and trainer._share == 1.0
        return
    rows = live(made["advantages"], SIZE)
    assert rows.sum() == SIZE and not made["completion_mask"][~rows].any()
    alone = {name: value[rows] if torch.is_tensor(value) and value.ndim else value for name, value in made.items()}
    alone["num_items_in_batch"] = alone["completion_mask"].sum()
    trainer._share = 1.0
    torch.testing.assert_close(found, gradient(trainer, alone), atol=1e-5, rtol=1e-4)
    assert found.abs().max() > 1e-3


def gradient(trainer: Any, batch: dict[str, Any]) -> torch.Tensor:
    trainer.model.zero_grad()
    trainer._compute_loss(trainer.model, batch).backward()
    return torch.cat([each.grad.view(-1) for each in trainer.model.parameters() if each.grad is not None])

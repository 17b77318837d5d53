"""Counting only the groups that teach.

A group whose rewards are all equal has no advantage. TRL counts it all the same: its loss is a mean over every
completion, so that dead groups dilute the live ones (trl#6367), and a KL term pulls the planner back on them
(trl#5588).
"""

from __future__ import annotations

from typing import Any

import torch

from tracer.training.trl.resumable import ResumableTrainer

NOISE = 1e-2
"""Advantages below it are rounding: rewards that differ by as little as the scale's epsilon, 1e-4, give 0.5."""


class LiveGroups(ResumableTrainer):
    """GRPO whose loss is, where ``skip_dead`` is set, a mean over the completions of live groups alone."""

    num_generations: int
    loss_type: str
    skip_dead = False
    _share = 1.0
    """How many times fewer completions (tokens, for a loss that counts those) are live than there are."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.skip_dead and self.model.training:
            mask, alive = output["completion_mask"], live(output["advantages"], self.num_generations)
            kept = mask * alive[:, None]
            found = torch.stack([mask.new_tensor(len(alive)), alive.sum(), mask.sum(), kept.sum()])
            every, living, tokens, counted = self.accelerator.gather(found[None]).sum(dim=0).tolist()
            shares = {"bnpo": 1.0, "dapo": tokens / max(counted, 1)}
            # Without a live group there is nothing to learn, and the loss is 0 as it is.
            self._share = shares.get(self.loss_type, every / living) if living else 1.0
            output["completion_mask"] = kept if living else mask
        return output

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        return loss * self._share


def live(advantages: torch.Tensor, size: int) -> torch.Tensor:
    """Which completions (batch,) belong to a group of ``size`` whose advantages (batch,) are not all nothing."""
    return (advantages.view(-1, size).abs() > NOISE).any(dim=1).repeat_interleave(size)

"""A planner that is asked again: its samples follow the softmax, and do not depend on the rest of the batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch

from tests.planners import trajectories, write_base
from tracer.dataset import read
from tracer.planner.transformers import Gumbel, TransformersPlanner
from tracer.trajectory import state_at


def test_samples_follow_the_softmax() -> None:
    logits = torch.tensor([1.0, 0.0, -1.0, -torch.inf])
    drawn = 4000
    noisy = Gumbel([str(seed) for seed in range(drawn)])(torch.zeros(drawn, 0), logits.expand(drawn, 4))
    found = Counter(noisy.argmax(dim=1).tolist())
    for token, share in enumerate(torch.softmax(logits, dim=0).tolist()):
        # Three standard deviations of a binomial share.
        assert abs(found[token] / drawn - share) <= 3 * (share * (1 - share) / drawn) ** 0.5


def test_an_attempt_is_repeatable_and_its_own_whatever_it_is_asked_with(tmp_path: Path) -> None:
    shards = trajectories(tmp_path)
    planner = TransformersPlanner.load(write_base(tmp_path / "base", shards, image=False, steps=0))
    states = [replace(state_at(found, 0), goal=f"{found.goal} {n}") for found in read(shards) for n in range(4)][:8]
    greedy, first, second = (planner.forecast(states, 2, attempt) for attempt in (0, 1, 2))
    assert planner.forecast(states, 2) == greedy
    assert planner.forecast(states, 2, 1) == first
    assert first != greedy and first != second
    assert planner.forecast(states[3:4], 2, 1) == first[3:4]
    assert all(0 < plan.tokens <= planner.settings.max_new_tokens for plan in first)

"""What a planner is shown online is what was recorded: the same goals, elements and histories, step by step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracer.environments.miniwob import Browser, MiniWob
from tracer.sources import jsonl
from tracer.trajectory import Trajectory, state_at

pytestmark = pytest.mark.browser
RAW = Path("data/raw")


def first_of_each_page() -> list[Trajectory]:
    first: dict[str, Trajectory] = {}
    for item in jsonl.read(RAW):
        if isinstance(item, Trajectory) and item.split in ("test", "heldout"):
            first.setdefault(item.task, item)
    return list(first.values())


@pytest.mark.skipif(not RAW.is_dir(), reason="the sample data is not there; `make data` pulls it")
def test_a_recorded_episode_played_again_meets_its_states_and_ends_the_same() -> None:
    episodes = first_of_each_page()
    assert len(episodes) == 25
    with Browser() as browser:
        for episode in episodes:
            with MiniWob(browser, episode.task) as page:
                state, done, success = page.reset(int(episode.id.rsplit("/", 1)[1])), False, False
                for index, step in enumerate(episode.steps):
                    recorded = state_at(episode, index)
                    for name in ("goal", "elements", "history"):
                        assert getattr(state, name) == getattr(recorded, name), (episode.id, index, name)
                    state, done, success = page.step(step.action, step.instruction)
                assert done and success, episode.id

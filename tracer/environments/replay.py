"""Replaying a recorded episode, to see whether this machine's browser shows what was recorded."""

from __future__ import annotations

from tracer.environments.browser import Browser
from tracer.environments.miniwob import MiniWob
from tracer.trajectory import Trajectory, state_at


def replay(browser: Browser, episode: Trajectory) -> str:
    """Play an episode of ``tracer record`` again; the first difference from the recording, or an empty string.

    Goals, element lists and histories are compared. Pixels can differ slightly between runs, and are not.
    """
    with MiniWob(browser, episode.task) as page:
        state, done, success = page.reset(int(episode.id.rsplit("/", 1)[1])), False, False
        for index, step in enumerate(episode.steps):
            recorded = state_at(episode, index)
            for name in ("goal", "elements", "history"):
                found, expected = getattr(state, name), getattr(recorded, name)
                if found != expected:
                    return f"{episode.id}, step {index}: {name} is {found}, recorded was {expected}"
            state, done, success = page.step(step.action, step.instruction)
        return "" if done and success else f"{episode.id} does not end in success"

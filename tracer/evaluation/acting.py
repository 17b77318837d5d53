"""One episode on any web page: an agent acts, and leaves the traces of an online evaluation behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tracer import json_lines, plugins
from tracer import planner as planners
from tracer.config import Config
from tracer.environments.browser import Size
from tracer.environments.website import SIZE, Ask, Say, WebWorld
from tracer.evaluation import online
from tracer.evaluation.episodes import Episode, Limits, play
from tracer.evaluation.results import RESULTS
from tracer.evaluation.traces import TraceLog

SPLIT, DONE = "web", WebWorld.ends[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be done, where, and by which agent."""

    url: str
    goal: str
    agent: str
    steps: int
    """At most so many."""
    allowed: tuple[str, ...] = ()
    """Hosts beside the page's own, ``*`` for anything."""
    size: Size = SIZE
    """Of the window, in CSS pixels."""


def act(config: Config, model: Path, out: Path, errand: Errand, ask: Ask, say: Say) -> dict[str, Any]:
    """Let an agent act; the row of the episode, which is added to the folder ``out``, and how many steps it executed.

    Raises ``ConfigError``, ``BrowserMissing``, ``NoPage`` before the planner is loaded, and ``PageFailed``.
    """
    plugins.find(plugins.AGENTS, errand.agent)
    world = WebWorld(errand.url, errand.goal, errand.allowed, ask, say, errand.size)
    with world:
        world.check()
        out.mkdir(parents=True, exist_ok=True)
        rows = json_lines.take_up(out / RESULTS)
        episode = Episode(strategy=errand.agent, task=urlsplit(world.url).hostname or "", split=SPLIT, seed=len(rows))
        limits = Limits(slots=1, max_steps=errand.steps)
        planner = planners.load(model, config.planner.constrain)
        ((row, turns),) = play([episode], planner, lambda: world, online.agents(config), limits)
    TraceLog(out, screens=True).add(row, turns)
    json_lines.write(out / RESULTS, [*rows, row])
    executed = [each for each in turns if each.decision.action and not each.outcome.startswith("impossible")]
    return {**row, "executed": len(executed)}

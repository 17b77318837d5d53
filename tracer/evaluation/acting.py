"""One episode on any web page: an agent acts, and leaves the traces of an online evaluation behind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tracer import json_lines, plugins
from tracer import planner as planners
from tracer.config import Config
from tracer.environments.website import Ask, Say, WebWorld
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


def act(config: Config, model: Path, out: Path, errand: Errand, ask: Ask, say: Say) -> dict[str, Any]:
    """Let an agent act; the row of the episode, which is added to the folder ``out``.

    Raises ``ConfigError``, ``BrowserMissing``, and ``PageFailed`` for a page that does not even open.
    """
    plugins.find(plugins.AGENTS, errand.agent)
    world = WebWorld(errand.url, errand.goal, errand.allowed, ask, say)
    out.mkdir(parents=True, exist_ok=True)
    rows = json_lines.take_up(out / RESULTS)
    episode = Episode(strategy=errand.agent, task=urlsplit(errand.url).hostname or "", split=SPLIT, seed=len(rows))
    limits = Limits(slots=1, max_steps=errand.steps)
    planner = planners.load(model, config.planner.constrain)
    ((row, turns),) = play([episode], planner, lambda: world, online.agents(config), limits)
    TraceLog(out, screens=True).add(row, turns)
    json_lines.write(out / RESULTS, [*rows, row])
    return row

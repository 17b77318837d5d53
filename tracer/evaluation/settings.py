"""The section ``evaluation`` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from tracer import plugins
from tracer.settings import Section

AgentName = Annotated[str, AfterValidator(plugins.known(plugins.AGENTS))]


class EvaluationConfig(Section):
    """How planners are compared."""

    max_states: int | None = Field(default=None, gt=0)
    """Held-out states per split, drawn with the seed; None takes all."""
    online: bool = True
    environment: Annotated[str, AfterValidator(plugins.known(plugins.ENVIRONMENTS))] = "miniwob"
    """Where the online episodes are played."""
    strategies: Annotated[tuple[AgentName, ...], Field(min_length=1)] = ("anticipatory", "react", "blind")
    """The agents that play them; the first is the one that the others are compared with."""
    unplayed: tuple[str, ...] = ()
    """Planners (``base``, ``stage1``, ...) that are not evaluated online, which takes minutes."""
    consistency: bool = False
    """Whether agents skip steps that the screen has no place for, that changed nothing, or that close a loop. Ours, not
    the paper's."""
    episodes: int = Field(default=4, gt=0)
    """Online episodes per page."""
    online_repeats: int = Field(default=1, gt=0)
    """How often all of them are played: pages answer at random times, so that identical runs differ. The first run is
    the score, and the others' success is shown beside it."""
    first_seed: int = 9000
    max_steps: int | None = Field(default=None, gt=0)
    """Steps after which an online episode counts as failed; None takes the environment's own limit for each task."""
    retries: int = Field(default=3, ge=0)
    """How often an agent asks the planner again, for a sampled forecast, where its answer does not parse or names
    nothing on the screen. Every answer counts in its cost; 0 is the paper's agent, which gives up."""
    budget: int = Field(default=8, gt=0)
    """The planner's calls that an agent which searches (``mcts``) spends in a state."""
    screens: bool = True
    """Whether the traces of online episodes keep the screens: some kilobytes a turn on small pages, up to 150 on large
    screens, for which ``tracer view`` shows what the agent saw."""
    resamples: int = Field(default=2000, ge=2)
    """Bootstrap resamples behind each 95 % interval."""

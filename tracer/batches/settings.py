"""The section ``batches`` of params.yaml: what is asked of new data."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tracer import plugins
from tracer.settings import Section


class DriftConfig(Section):
    """How far a batch may be from the champion's training data, each between 0 (alike) and 1 (nothing in common).

    Mixes are compared by the Jensen-Shannon distance to base 2, numbers by the Kolmogorov-Smirnov statistic.
    """

    action_mix: float = Field(default=0.4, ge=0, le=1)
    """The types of the actions."""
    screen_sizes: float = Field(default=0.5, ge=0, le=1)
    """Width and height of the screens, in pixels."""
    unknown_targets: float = Field(default=0.3, ge=0, le=1)
    """Whether the target of an action that points somewhere is known."""
    goal_length: float = Field(default=0.5, ge=0, le=1)
    """The characters of the goals."""
    element_count: float = Field(default=0.5, ge=0, le=1)
    """The elements of the screens."""


class BatchConfig(Section):
    """When a batch is accepted."""

    inbox: str = "inbox"
    """The folder, or ``s3://BUCKET/PREFIX``, that new data arrives in. What was refused goes to ``refused/`` there,
    with a report."""
    source: Annotated[str, AfterValidator(plugins.known(plugins.SOURCES))] = "jsonl"
    """The adapter that reads what arrives, unless ``--source`` names another."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of that adapter."""
    max_quarantined: float = Field(default=0.05, ge=0, le=1)
    """The share of its records that may be unreadable."""
    max_repeated: float = Field(default=0.1, ge=0, le=1)
    """The share of its episodes that may be there already, or repeat a state of another split. They are left out."""
    min_episodes: int = Field(default=5, ge=1)
    """How many new episodes it has to bring."""
    drift: DriftConfig = DriftConfig()

"""The section ``evaluation`` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from tracer.settings import Section


class EvaluationConfig(Section):
    """How planners are compared."""

    max_states: int | None = Field(default=None, gt=0)
    """Held-out states a split, drawn with the seed; None takes all."""
    online: bool = True
    episodes: int = Field(default=4, gt=0)
    """Online episodes a page."""
    first_seed: int = 9000
    max_steps: int = Field(default=20, gt=0)
    """Steps after which an online episode counts as failed."""
    resamples: int = Field(default=2000, gt=0)
    """Bootstrap resamples behind each 95 % interval."""

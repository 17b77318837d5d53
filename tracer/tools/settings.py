"""The section ``grounding`` of params.yaml."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tracer.settings import Section


class GroundingConfig(Section):
    """Who turns a forecast's first step into a place on the screen, in stage 2 and at inference."""

    agent: Literal["elements", "ocr", "own"] = "elements"
    """The frozen tool agent: from the element list, from pixels alone, or none (the planner's own coordinates)."""
    radius: float = Field(default=0.04, gt=0)
    """How near, in screen fractions, a place has to be where the target's box is unknown."""

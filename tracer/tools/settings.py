"""The section ``grounding`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from tracer import plugins
from tracer.settings import Section


class GroundingConfig(Section):
    """Who turns a forecast's first step into a place on the screen, in stage 2 and at inference."""

    agent: Annotated[str, AfterValidator(plugins.known(plugins.TOOLS))] = "elements"
    """The frozen tool agent: ``elements`` (the element list), ``ocr`` (pixels alone), ``own`` (none: the planner's own
    coordinates), ``served`` (a model behind a server), or a plugin's."""
    model: str = ""
    """The grounding model that ``served`` asks, as openai:http://HOST:PORT/v1#MODEL."""
    convention: Literal["ui-tars", "ui-tars-1.5", "qwen2.5-vl", "qwen3-vl"] = "ui-tars"
    """How that model writes an action and its coordinates."""
    executors: tuple[Annotated[str, AfterValidator(plugins.known(plugins.EXECUTORS))], ...] = ()
    """Who executes a tool call, in stage 2 and where recorded states are evaluated: ``agentdojo``, ``bfcl``,
    ``calculator``, ``crop_image``, ``describe_image``, ``mcp``, ``python``, ``read_file``, ``read_image``,
    ``web_search``, or a plugin's. A call that none of them can run is compared with the reference."""
    radius: float = Field(default=0.04, gt=0)
    """How near, in screen fractions, a place has to be where the target's box is unknown."""

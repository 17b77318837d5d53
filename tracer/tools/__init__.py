"""Frozen tool agents: they turn a forecast's step into an action on the screen, and are never trained.

Other rooms use ``load``, ``tool_agent.ToolAgent`` and, for a screenshot of one's own, ``screen.state_of`` with
``ocr.OcrLocator``; a tool agent is found by its name (``tracer.plugins.TOOLS``).
"""

from __future__ import annotations

from typing import cast

from tracer import plugins
from tracer.tools.settings import GroundingConfig
from tracer.tools.tool_agent import ToolAgent


def load(config: GroundingConfig) -> ToolAgent:
    """The tool agent that ``grounding.agent`` names. Only ``ocr`` loads a model, and only on its first screen."""
    return cast(ToolAgent, plugins.load(plugins.TOOLS, config.agent)())

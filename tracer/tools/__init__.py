"""Frozen tool agents: they turn a forecast's step into an action on the screen, and are never trained."""

from __future__ import annotations

from tracer.tools.settings import GroundingConfig
from tracer.tools.tool_agent import ToolAgent


def load(config: GroundingConfig) -> ToolAgent:
    """The tool agent that ``grounding.agent`` names. Only ``ocr`` loads a model, and only on its first screen."""
    if config.agent == "elements":
        from tracer.tools.elements import ElementLocator

        return ElementLocator()
    if config.agent == "ocr":
        from tracer.tools.ocr import OcrLocator

        return OcrLocator()
    from tracer.tools.own import OwnCoordinates

    return OwnCoordinates()

"""Frozen tool agents, which turn a forecast's step into an action on the screen, and executors, which run tool calls.

Other rooms use ``load``, ``together``, ``plugins_of``, ``identities``, ``tool_agent`` and ``execution``; for a
screenshot of one's own, ``screen.state_of`` with ``ocr.OcrLocator``; sources and benchmarks of tasks with tools use
``bfcl``, ``agentdojo`` and ``gold``, and a tool of pictures that lives elsewhere ``files`` and ``images``. Both kinds
are found by their names (``tracer.plugins.TOOLS``, ``EXECUTORS``).
"""

from __future__ import annotations

from typing import Any, cast

from tracer import plugins
from tracer.tools.execution import Executors
from tracer.tools.settings import GroundingConfig
from tracer.tools.tool_agent import ToolAgent


def load(config: GroundingConfig) -> ToolAgent:
    """The tool agent that ``grounding.agent`` names. Only ``ocr`` loads a model, and only on its first screen."""
    kind = plugins.load(plugins.TOOLS, config.agent)
    return cast(ToolAgent, kind.of(config) if hasattr(kind, "of") else kind())


def together(config: GroundingConfig) -> int:
    """How many steps are grounded at the same time: several where the tool agent waits for a server."""
    return int(getattr(plugins.load(plugins.TOOLS, config.agent), "together", 1))


def plugins_of(config: GroundingConfig) -> list[str]:
    """The modules of the tool agent and the executors that the section names."""
    executors = [plugins.module_of(plugins.EXECUTORS, name) for name in config.executors]
    return [plugins.module_of(plugins.TOOLS, config.agent), *executors]


def identities(config: GroundingConfig) -> dict[str, Any]:
    """Name, version and digest of every tool that is executed, for a lineage; nothing where none is."""
    return {"tools": Executors(config.executors).identities()} if config.executors else {}

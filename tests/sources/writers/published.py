"""Every published source: what writes a small one, and the options that the adapter needs for it."""

from __future__ import annotations

from typing import Any

from tests.sources.writers import agentnet, agenttrek, android_control, gui_odyssey, mind2web, mm_traj

SOURCES: dict[str, tuple[Any, dict[str, Any]]] = {
    "agentnet": (agentnet.write, {}),
    "android_control": (android_control.write, {}),
    "gui_odyssey": (gui_odyssey.write, {}),
    "mind2web": (mind2web.write, {}),
    "agenttrek": (agenttrek.write, {"text_only": True}),
    "mm_traj": (mm_traj.write, {}),
}

"""Planners turn states into forecasts. ``load`` finds the one in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

from tracer import plugins
from tracer.planner.plan import SETTINGS, Planner


def load(folder: str | Path) -> Planner:
    """The planner of a model folder, or of the ``model`` folder in a step's output.

    ``backend`` in its ``planner.json`` names the entry point of the group ``tracer.planners`` that loads it; without
    it, the folder contains a Hugging Face model. Raises ``FileNotFoundError`` where there is none, and ``PluginError``.
    """
    from tracer.planner.adapter import model_folder

    settings = model_folder(Path(folder)) / SETTINGS
    document = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    return cast(Planner, plugins.load(plugins.PLANNERS, document.get("backend", "transformers"))(folder))

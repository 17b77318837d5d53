"""Planners turn states into forecasts: ``plan`` says what one is, ``load`` finds the one in a folder.

A registered model is downloaded first: ``tracer.flow.model`` turns any name into a folder. Other rooms also use
``prompt``, ``escape`` and ``length`` for what a planner is shown, and ``transformers``, ``lora``, ``files``,
``tiny`` and ``hub`` for the models that are trained here, and ``address`` for those behind a server.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from tracer import plugins
from tracer.json_files import read_json
from tracer.planner.plan import SETTINGS, Planner


def load(folder: str | Path) -> Planner:
    """The planner of a model folder, or of the ``model`` folder in a step's output.

    Raises ``FileNotFoundError`` where there is none, and ``PluginError``.
    """
    return cast(Planner, plugins.load(plugins.PLANNERS, backend(folder))(folder))


def module(folder: str | Path) -> str:
    """The module that loads a folder's planner, for the digest of a step that asks it for forecasts."""
    return plugins.module_of(plugins.PLANNERS, backend(folder))


def backend(folder: str | Path) -> str:
    """The entry point of the group ``tracer.planners`` that loads a folder: ``backend`` in its ``planner.json``.

    Without it, the folder contains a Hugging Face model.
    """
    from tracer.planner.lora import model_folder

    settings = model_folder(Path(folder)) / SETTINGS
    document = read_json(settings) if settings.is_file() else {}
    return str(document.get("backend", "transformers"))

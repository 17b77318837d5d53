"""Planners turn states into forecasts: ``plan`` says what one is, ``load`` finds the one in a folder.

A registered model is downloaded first: ``tracer.flow.model`` turns any name into a folder. Other rooms also use
``prompt``, ``escape`` and ``length`` for what a planner is shown, ``constraint`` for what it may answer, ``cache`` for
what it keeps meanwhile, ``transformers``, ``lora``, ``files``, ``shape``, ``tiny`` and ``hub`` for the models that are
trained here, and ``address`` and ``served`` for those behind a server. ``grounding`` is a tool agent that is served
likewise, and ``describing`` a tool.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import cast

from tracer import plugins
from tracer.grammars.reading import Constrain
from tracer.json_files import read_json
from tracer.planner.plan import SETTINGS, Planner
from tracer.settings import ConfigError


def load(folder: str | Path, constrain: Constrain | None = None) -> Planner:
    """The planner of a model folder, or of the ``model`` folder in a step's output.

    ``constrain`` replaces what its settings say. Raises ``ConfigError`` where there is none and for a backend that
    cannot be constrained, and ``PluginError``.
    """
    make = plugins.load(plugins.PLANNERS, backend(folder))
    if "constrain" in inspect.signature(make).parameters:
        return cast(Planner, make(folder, constrain=constrain))
    if constrain not in (None, "off"):
        raise ConfigError(f"planners of the backend {backend(folder)!r} cannot be constrained: planner.constrain=off")
    return cast(Planner, make(folder))


def module(folder: str | Path) -> str:
    """The module that loads a folder's planner, for the digest of a step that asks it for forecasts."""
    return plugins.module_of(plugins.PLANNERS, backend(folder))


def backend(folder: str | Path) -> str:
    """The entry point of the group ``tracer.planners`` that loads a folder: ``backend`` in its ``planner.json``.

    Without it, the folder contains a Hugging Face model.
    """
    from tracer.planner.lora import kept_in

    settings = kept_in(Path(folder)) / SETTINGS
    return str(read_json(settings).get("backend", "transformers")) if settings.is_file() else "transformers"

"""Planners turn states into forecasts. ``load`` finds the one of a folder, a model id or a registry URI."""

from __future__ import annotations

from pathlib import Path

from tracer.planner.base import Planner


def load(where: str | Path) -> Planner:
    """The planner of a step's output folder, a model folder, or a registered model (``name@alias``, ``models:/...``).

    Raises ``FileNotFoundError`` where there is none.
    """
    path = Path(where)
    if not path.exists() and ("@" in str(where) or str(where).startswith("models:/")):
        from tracer import registry

        return registry.load(str(where))
    from tracer.planner.transformers import TransformersPlanner

    return TransformersPlanner.load(path)

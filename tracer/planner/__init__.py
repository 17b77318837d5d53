"""Planners turn states into forecasts. ``load`` finds the one of a folder, a model id or a registry URI."""

from __future__ import annotations

from pathlib import Path

from tracer.planner.plan import Planner


def is_registered(where: str | Path) -> bool:
    """Whether this names a registered model (``name@alias``, ``models:/...``) and not a folder."""
    return not Path(where).exists() and ("@" in str(where) or str(where).startswith("models:/"))


def load(where: str | Path) -> Planner:
    """The planner of a step's output folder, a model folder, or a registered model (``name@alias``, ``models:/...``).

    Raises ``FileNotFoundError`` where there is none.
    """
    if is_registered(where):
        from tracer.registry import versions

        return versions.load(str(where))
    from tracer.planner.transformers import TransformersPlanner

    return TransformersPlanner.load(where)

"""The model registry in MLflow: versions, promotion, and the runs behind them.

tracer.registry.load("tracer-planner@champion").forecast([state], horizon=5)
"""

from tracer.registry.versions import (
    CHALLENGER,
    CHAMPION,
    WEIGHTS,
    RegistryError,
    Version,
    aliased,
    download,
    lineage_of,
    load,
    register,
    version_of,
    weights,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "WEIGHTS",
    "RegistryError",
    "Version",
    "aliased",
    "download",
    "lineage_of",
    "load",
    "register",
    "version_of",
    "weights",
]

"""The section ``registry`` of params.yaml."""

from __future__ import annotations

import os
from enum import StrEnum

from pydantic import Field, PrivateAttr

from tracer.settings import Section

# Read once: MLflow sets the variable itself, for its own later calls, to whatever it was last connected to.
TRACKING_URI = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


class Role(StrEnum):
    """Who registers versions, and who decides on them as well (``roles``)."""

    trainer = "trainer"
    promoter = "promoter"


class RegistryConfig(Section):
    """Where runs and models are registered."""

    tracking_uri: str = TRACKING_URI
    pages: str | None = None
    """Where people open MLflow's pages, if that is neither ``tracking_uri`` nor what `make dev` starts."""
    experiment: str = "tracer"
    model: str = "tracer-planner"
    policy: str = "mlflow/promotion.yaml"
    keep_stale_days: float = Field(default=7.0, ge=0)
    """How long `tracer gc` leaves step folders that were set aside, or left unfinished."""
    keep_runs_days: float = Field(default=30.0, ge=0)
    """How long it leaves Dagster's runs with their events."""
    enabled: bool = True
    """Whether runs of the profile register versions and ask for promotion."""
    _profile: str = PrivateAttr("")
    """Where it is a part of a ``Config``: the profile of that, for messages."""

    def command(self, words: str) -> str:
        """A command as messages show it, for the profile where one is known."""
        return f"tracer {words}" + (f" --profile {self._profile}" if self._profile else "")

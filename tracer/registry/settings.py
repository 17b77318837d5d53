"""The section ``registry`` of params.yaml."""

from __future__ import annotations

import os

from tracer.settings import Section

# Read once: MLflow sets the variable itself, for its own later calls, to whatever it was last connected to.
TRACKING_URI = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


class RegistryConfig(Section):
    """Where runs and models are registered."""

    tracking_uri: str = TRACKING_URI
    experiment: str = "tracer"
    model: str = "tracer-planner"
    policy: str = "mlflow/promotion.yaml"
    enabled: bool = True
    """Whether runs of the profile register versions and ask for promotion."""

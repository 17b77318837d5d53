"""The registered model as MLflow loads it: this file itself travels with the version, and nothing is pickled.

    mlflow.pyfunc.load_model("models:/tracer-planner@champion").predict(frame, params={"horizon": 5})

One row is one state; ``tracer.registry.register.FIELDS`` names its columns. ``mlflow.models.set_model`` has to run on
import: MLflow executes the file to find the model in it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel


class RegisteredPlanner(PythonModel):
    """The planner of the artifact ``planner``."""

    def load_context(self, context: Any) -> None:
        """Load the planner from the version's files; raises ``LineageError`` if they are not those registered."""
        from tracer.json_files import read_json
        from tracer.lineage.digest import LineageError, content_digest
        from tracer.planner.transformers import TransformersPlanner

        folder = Path(context.artifacts["planner"])
        if content_digest(folder) != read_json(Path(context.artifacts["lineage"]), "weights")["weights"]:
            raise LineageError(f"the weights in {folder} are not those that were registered; restore them")
        self.planner = TransformersPlanner.load(folder)

    # A hint from which MLflow infers no signature: that is given explicitly, and without a hint it advises to have one.
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Forecast from each row of a data frame."""
        states = [state(row) for row in model_input.to_dict("records")]
        plans = self.planner.forecast(states, int((params or {})["horizon"]))
        return pd.DataFrame(
            {
                "text": [plan.text for plan in plans],
                "forecast": [None if plan.forecast is None else forecast_json(plan.forecast) for plan in plans],
                "error": [plan.error for plan in plans],
            }
        )


def state(row: dict[Any, Any]) -> Any:
    """The state of one row; absent and empty optional columns are taken as not there."""
    from tracer.trajectory import State

    present = {name: value for name, value in row.items() if isinstance(value, str | bytes) or value == value}
    elements = json.loads(present.get("elements") or "null")
    return State.from_dict({**present, "elements": elements}, json.loads(present.get("history") or "[]"))


def forecast_json(forecast: Any) -> str:
    """A forecast as JSON text."""
    steps = [{"action": step.action.to_dict(), "instruction": step.instruction} for step in forecast]
    return json.dumps(steps, ensure_ascii=False)


mlflow.models.set_model(RegisteredPlanner())

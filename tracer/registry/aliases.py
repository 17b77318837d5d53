"""Who may move an alias, for MLflow's server: ``authorization_function`` in infra/docker/mlflow-auth.ini.

MLflow lets everybody who may register a version (EDIT on the model) move its aliases and rename it. Here that takes
MANAGE, but for the alias that registering sets. Nothing of tracer is imported: it runs in the server.
"""

from __future__ import annotations

import json
from typing import Any

from flask import Response, request
from mlflow.server import auth
from mlflow.server.auth.requirements import Requirement

FREE = "challenger"
"""The alias that `tracer register` sets."""
GUARDED = ("/mlflow/registered-models/alias", "/mlflow/registered-models/rename")


def authenticate() -> Any:
    """Whom MLflow takes the caller of the present request for, or the answer that refuses him."""
    caller = auth.authenticate_request_basic_auth()
    if isinstance(caller, Response) or request.method == "GET" or not request.path.endswith(GUARDED):
        return caller
    asked = request.get_json(force=True, silent=True)
    name, alias = (str(asked.get(key, "")) if isinstance(asked, dict) else "" for key in ("name", "alias"))
    if alias == FREE or _manages(caller.username, name):
        return caller
    what = f"move the alias {alias!r} of {name}" if alias else f"rename {name}"
    said = f"{caller.username} may not {what}: that takes MANAGE on it"
    body = json.dumps({"error_code": "PERMISSION_DENIED", "message": said})
    return Response(body, status=403, mimetype="application/json")


def _manages(user: str, model: str) -> bool:
    on = ("registered_model", model)
    return bool(auth.store.get_user(user).is_admin or auth.authorize(user, on, [Requirement(*on, "manage")]))

"""What trainers and promoters may do on an MLflow server with users (basic-auth), granted by its administrator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from tracer.registry import record, tracking
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError

GRANT = "/api/3.0/mlflow/users/permissions/grant"
REVOKE = "/api/3.0/mlflow/users/permissions/revoke"
Role = Literal["trainer", "promoter"]
"""Who registers versions, and who decides on them as well."""


def grant(config: RegistryConfig, user: str, role: Role) -> dict[str, str]:
    """Grant a user what the role needs; return what was granted, by experiment and model.

    Those are made if they are not there: whoever makes one may do anything with it, so this comes before the first
    registration. Raises ``RegistryError``.
    """
    granted = {}
    for kind, name, where, permission in _grants(config, role):
        body = {"username": user, "resource_type": kind, "resource_id": where}
        answer = _post(config, GRANT, {**body, "permission": permission})
        if "RESOURCE_ALREADY_EXISTS" in answer.text:
            _post(config, REVOKE, body)
            answer = _post(config, GRANT, {**body, "permission": permission})
        if answer.status_code != 200:
            raise RegistryError(
                f"{config.tracking_uri} does not grant {permission} on {name} to {user} (HTTP {answer.status_code}: "
                f"{answer.text[:200]}); it needs --app-name basic-auth, the user, and you as its administrator"
            )
        granted[name] = permission
    return granted


def _post(config: RegistryConfig, path: str, body: dict[str, str]) -> Any:
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    return http_request(get_default_host_creds(config.tracking_uri), path, "POST", json=body, raise_on_status=False)


def _grants(config: RegistryConfig, role: Role) -> Iterator[tuple[str, str, str, str]]:
    """Kind, name, id and permission of all that a role may do."""
    client, decisions = tracking.connect(config), tracking.decisions(config)
    on_models, on_decisions = ("MANAGE", "EDIT") if role == "promoter" else ("EDIT", "READ")
    for name, permission in ((config.model, on_models), (record.name_of(config), on_decisions)):
        tracking.registered_model(client, name, "")
        yield "registered_model", name, name, permission
    # A run that a killed process left is deleted and written again, which takes more than EDIT.
    experiments = {name: "MANAGE" for name in (config.experiment, tracking.live(config), f"{config.experiment}-data")}
    for name, permission in {**experiments, decisions: on_decisions}.items():
        yield "experiment", name, tracking.experiment(client, config, name), permission

"""What trainers and promoters may do on an MLflow server with users (basic-auth), granted by its administrator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracer.registry import record, tracking
from tracer.registry.settings import RegistryConfig, Role

GRANT = "/api/3.0/mlflow/users/permissions/grant"
REVOKE = "/api/3.0/mlflow/users/permissions/revoke"
USER = "/api/2.0/mlflow/users/get"


def grant(config: RegistryConfig, user: str, role: Role) -> dict[str, str]:
    """Grant a user what the role needs; return what was granted, by experiment and model.

    Those are made if they are not there: whoever makes one may do anything with it, so this comes before the first
    registration. Raises ``ConfigError`` without a server, and ``RegistryError`` where it does not grant; for a user
    that it does not know nothing is made.
    """
    tracking.require_server(config, "users and permissions are those of MLflow's server")
    _granted(config, f"anything to {user}", tracking.asked(config, USER, "GET", params={"username": user}))
    granted = {}
    for kind, name, where, permission in _grants(config, role):
        body = {"username": user, "resource_type": kind, "resource_id": where}
        answer = tracking.asked(config, GRANT, "POST", json={**body, "permission": permission})
        if "RESOURCE_ALREADY_EXISTS" in answer.text:
            tracking.asked(config, REVOKE, "POST", json=body)
            answer = tracking.asked(config, GRANT, "POST", json={**body, "permission": permission})
        _granted(config, f"{permission} on {name} to {user}", answer)
        granted[name] = permission
    return granted


def _granted(config: RegistryConfig, what: str, answer: Any) -> None:
    if answer.status_code != 200:
        raise tracking.RegistryError(
            f"{config.tracking_uri} does not grant {what} (HTTP {answer.status_code}: {answer.text[:200]}); it needs "
            f"--app-name basic-auth, the user, and you as its administrator"
        )


def _grants(config: RegistryConfig, role: Role) -> Iterator[tuple[str, str, str, str]]:
    """Kind, name, id and permission of all that a role may do."""
    client, decisions = tracking.connect(config), tracking.decisions(config)
    on_models, on_decisions = ("MANAGE", "EDIT") if role == Role.promoter else ("EDIT", "READ")
    for name, permission in ((config.model, on_models), (record.name_of(config), on_decisions)):
        tracking.registered_model(client, name, "")
        yield "registered_model", name, name, permission
    # A run that a killed process left is deleted and written again, which takes more than EDIT.
    experiments = {name: "MANAGE" for name in (config.experiment, tracking.live(config), f"{config.experiment}-data")}
    for name, permission in {**experiments, decisions: on_decisions}.items():
        yield "experiment", name, tracking.experiment(client, config, name), permission

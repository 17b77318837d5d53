"""Who takes a decision, and whether somebody else has to.

On a server that knows its users (MLflow's ``basic-auth`` app) it is the user that the server recognised, elsewhere the
user of the machine. Names keep honest people apart; what a user may do is for the server's permissions to say.
"""

from __future__ import annotations

import os
import pwd

from tracer.registry import tracking
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError
from tracer.registry.versions import AUTHOR, Version

CURRENT = "/api/2.0/mlflow/users/current"
"""Where MLflow's server says whom it takes the caller for; a server without users has no such page."""


def current(config: RegistryConfig) -> str:
    """The name of the user; raises ``RegistryError`` where a server with users does not say it."""
    if not tracking.on_server(config):
        return _machine_user()
    answer = tracking.asked(config, CURRENT, "GET")
    if answer.status_code == 404:
        return _machine_user()
    if answer.status_code != 200:
        raise RegistryError(
            f"{config.tracking_uri} does not say who you are (HTTP {answer.status_code}): check "
            f"MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    return str(answer.json()["user"]["username"])


def require_other(config: RegistryConfig, version: Version) -> None:
    """Raise ``RegistryError`` unless the user is somebody else than the version's author."""
    user = current(config)
    if version.tags.get(AUTHOR) in (user, None):  # without its tag anybody could be the author
        raise RegistryError(
            f"version {version.version} has no author but {user}: the policy asks for approval by somebody else than "
            f"its author"
        )


def _machine_user() -> str:
    """By the process and not by ``$USER``, which anybody can set; a container's user may have no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"

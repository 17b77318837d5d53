"""Telling others that an alias moved: MLflow's own webhooks, which its server sends and signs.

A receiver gets the JSON ``{"entity": "model_version_alias", "action": "created", "data": {"name": ..., "alias":
"champion", "version": "3"}, ...}``. Its header ``X-MLflow-Signature`` is ``v1,`` and the base64 of the HMAC-SHA256, by
the shared secret, of ``<X-MLflow-Delivery-Id>.<X-MLflow-Timestamp>.<body>``.
"""

from __future__ import annotations

import os

from tracer.registry import tracking
from tracer.registry.settings import RegistryConfig
from tracer.settings import ConfigError

SECRET = "TRACER_WEBHOOK_SECRET"  # pragma: allowlist secret
EVENTS = ("model_version_alias.created", "model_version_alias.deleted")
"""An alias that moves to another version is created there."""


def subscribe(config: RegistryConfig, url: str) -> str:
    """Have the server post to a URL whenever an alias moves, signed with the environment's secret; the webhook's id.

    The same URL again gets the present secret. Raises ``ConfigError`` without a server or a secret, ``RegistryError``
    for a URL that the server refuses.
    """
    tracking.require_server(config, "webhooks are sent by MLflow's server")
    secret = os.environ.get(SECRET)
    if not secret:
        raise ConfigError(f"set {SECRET} to the secret that the receiver checks the signature with")
    client = tracking.connect(config)
    try:
        there = tracking.paged(lambda token: client.list_webhooks(max_results=100, page_token=token))
        known = next((each for each in there if each.url == url and set(map(str, each.events)) == set(EVENTS)), None)
        if known is not None:
            return str(client.update_webhook(known.webhook_id, events=list(EVENTS), secret=secret).webhook_id)
        return str(client.create_webhook("aliases", url, list(EVENTS), secret=secret).webhook_id)
    except tracking.mlflow_error() as error:
        raise tracking.RegistryError(f"{config.tracking_uri} refuses the webhook: {error}") from error

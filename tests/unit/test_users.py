"""Whom the record names: the user whom MLflow's server recognised, else the machine's."""

from __future__ import annotations

import base64
import json
import os
import pwd
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tracer.registry import users
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError

MACHINE = pwd.getpwuid(os.getuid()).pw_name


class Server(BaseHTTPRequestHandler):
    """Answers as MLflow 3.17's basic-auth app does, and as a server without it where ``known`` is None."""

    known: dict[str, str] | None = None

    def do_GET(self) -> None:
        if self.known is None or self.path != users.CURRENT:
            self.send_error(404)
            return
        _, _, sent = self.headers.get("Authorization", "").partition(" ")
        name, _, password = base64.b64decode(sent).decode().partition(":")
        if self.known.get(name) != password:
            self.send_error(401)
            return
        self.send_response(200)
        self.end_headers()
        answer = {"user": {"id": 2, "username": name, "is_admin": False}, "is_basic_auth": True}
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RegistryConfig]:
    served = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "right")
    yield RegistryConfig(tracking_uri=f"http://127.0.0.1:{served.server_port}")
    served.shutdown()


def test_the_server_says_who_the_user_is(server: RegistryConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Server, "known", {"ada": "right"})
    assert users.current(server) == "ada"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
    with pytest.raises(RegistryError, match=r"does not say who you are \(HTTP 401\): check MLFLOW_TRACKING_USERNAME"):
        users.current(server)


def test_a_name_that_nobody_checked_is_not_taken(server: RegistryConfig) -> None:
    assert users.current(server) == MACHINE
    assert users.current(RegistryConfig(tracking_uri="sqlite:///mlflow.db")) == MACHINE

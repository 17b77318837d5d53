"""Alerts reach a mail server and a webhook, and a way that fails stops nothing and gives no secret away."""

from __future__ import annotations

import json
import logging
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tracer import alerts

NAMES = ("WEBHOOK", "SMTP", "TO", "FROM", "SMTP_USER", "SMTP_PASSWORD")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(f"TRACER_ALERT_{name}", raising=False)


class Hook(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    got: list[dict[str, str]] = []  # noqa: RUF012
    answer = 200

    def do_POST(self) -> None:
        self.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.answer)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


class Post(socketserver.StreamRequestHandler):
    """The little of SMTP that a client without a login speaks."""

    mails: list[str] = []  # noqa: RUF012
    to: list[str] = []  # noqa: RUF012

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        while line := self.rfile.readline().decode().strip().upper():
            if line.startswith("RCPT"):
                self.to.append(line)
            if line == "DATA":
                self.wfile.write(b"354 go on\r\n")
                text = ""
                while (part := self.rfile.readline().decode()) != ".\r\n":
                    text += part
                self.mails.append(text)
            self.wfile.write(b"221 bye\r\n" if line == "QUIT" else b"250 ok\r\n")
            if line == "QUIT":
                return


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    host, port = server.server_address[:2]  # type: ignore[misc]
    try:
        yield f"{host!s}:{port}"
    finally:
        server.shutdown()
        server.server_close()


def test_mail_and_webhook_get_the_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        serving(HTTPServer(("127.0.0.1", 0), Hook)) as web,
        serving(socketserver.TCPServer(("127.0.0.1", 0), Post)) as mail,
    ):
        monkeypatch.setenv("TRACER_ALERT_WEBHOOK", f"http://{web}/services/secret")
        monkeypatch.setenv("TRACER_ALERT_SMTP", mail)
        monkeypatch.setenv("TRACER_ALERT_TO", "team@example.org")
        assert alerts.send("batch refused", "batch 1f0c: 33 % of the rows\nfix them") == []
    assert Hook.got == [{"text": "*tracer: batch refused*\nbatch 1f0c: 33 % of the rows\nfix them"}]
    assert Post.to == ["RCPT TO:<TEAM@EXAMPLE.ORG>"]
    assert "Subject: tracer: batch refused: batch 1f0c: 33 % of the rows" in Post.mails[0]
    assert "fix them" in Post.mails[0] and "From: team@example.org" in Post.mails[0]


def test_without_addresses_there_is_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert alerts.send("stale", "champion is old") == []
    assert "alert: stale: champion is old" in caplog.text


def test_a_way_that_fails_is_named_and_its_address_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        for hook in (f"http://127.0.0.1:{port}/services/secret", "file:///etc/secret"):
            monkeypatch.setenv("TRACER_ALERT_WEBHOOK", hook)
            monkeypatch.setenv("TRACER_ALERT_SMTP", f"127.0.0.1:{port}")
            monkeypatch.setenv("TRACER_ALERT_TO", "team@example.org")
            assert alerts.send("drift", "goal length") == ["TRACER_ALERT_WEBHOOK", "TRACER_ALERT_SMTP"]
    assert "secret" not in caplog.text and "could not be sent to what TRACER_ALERT_WEBHOOK names" in caplog.text


def test_a_mail_without_anybody_to_send_it_to_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_ALERT_SMTP", "127.0.0.1:1")
    assert alerts.send("drift", "goal length") == ["TRACER_ALERT_SMTP"]

"""Alerts: into the log, by mail, and to a webhook that takes what Slack's does. Addresses come from the environment.

    TRACER_ALERT_WEBHOOK                              a URL, which gets {"text": ...}
    TRACER_ALERT_SMTP, TRACER_ALERT_TO                host:port, and who gets the mail
    TRACER_ALERT_FROM                                 who sends it, by default TRACER_ALERT_TO
    TRACER_ALERT_SMTP_USER, TRACER_ALERT_SMTP_PASSWORD   a login, which asks for STARTTLS

A way that fails is named in the log and stops nothing: an alert must not end the run that it is about.
"""

from __future__ import annotations

import logging
import os
import smtplib
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Literal

import requests

log = logging.getLogger(__name__)

Kind = Literal[
    "run failed", "challenger refused", "batch refused", "drift", "stale", "record broken", "retraining given up"
]
TIMEOUT_SECONDS = 20


def send(kind: Kind, text: str) -> list[str]:
    """Send an alert in every way that the environment names; the ways that failed."""
    log.warning("alert: %s: %s", kind, text)
    ways: dict[str, Callable[[str, str, Mapping[str, str]], None]] = {
        "TRACER_ALERT_WEBHOOK": _post,
        "TRACER_ALERT_SMTP": _mail,
    }
    failed = []
    for name, way in ways.items():
        if not os.environ.get(name):
            continue
        try:
            way(f"tracer: {kind}", text, os.environ)
        except (OSError, ValueError, KeyError, smtplib.SMTPException) as error:
            failed.append(name)
            log.error("the alert could not be sent to what %s names: %s", name, type(error).__name__)
    return failed


def _post(subject: str, text: str, to: Mapping[str, str]) -> None:
    told = {"text": f"*{subject}*\n{text}"}
    requests.post(to["TRACER_ALERT_WEBHOOK"], json=told, timeout=TIMEOUT_SECONDS).raise_for_status()


def _mail(subject: str, text: str, to: Mapping[str, str]) -> None:
    message = EmailMessage()
    message["Subject"] = f"{subject}: {text.splitlines()[0][:100]}"
    message["To"] = to["TRACER_ALERT_TO"]
    message["From"] = to.get("TRACER_ALERT_FROM") or to["TRACER_ALERT_TO"]
    message.set_content(text)
    host, _, port = to["TRACER_ALERT_SMTP"].partition(":")
    with smtplib.SMTP(host, int(port or 25), timeout=TIMEOUT_SECONDS) as server:
        if to.get("TRACER_ALERT_SMTP_USER"):
            server.starttls()
            server.login(to["TRACER_ALERT_SMTP_USER"], to["TRACER_ALERT_SMTP_PASSWORD"])
        server.send_message(message)

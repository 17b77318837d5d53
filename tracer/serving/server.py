"""``tracer serve``: loads the planner, listens, follows the alias, and ends when it is told to."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from tracer import flow, planner
from tracer.config import Config
from tracer.http_parts import header
from tracer.lineage.digest import content_digest
from tracer.planner.served import ServedPlanner
from tracer.planner.transformers import TransformersPlanner
from tracer.registry import versions
from tracer.serving.front import application
from tracer.serving.guard import App, Guard
from tracer.serving.local import Loaded, Local
from tracer.serving.metrics import Metrics
from tracer.serving.settings import ServingConfig
from tracer.serving.upstream import Upstream
from tracer.settings import ConfigError

log = logging.getLogger(__name__)
KEY = "TRACER_API_KEY"


class ServingError(RuntimeError):
    """The server cannot listen."""


def serve(config: Config, name: str, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a planner until a signal ends it; requests that are being answered then are finished.

    Raises ``ConfigError`` for another machine's access without a key and for a planner that cannot be served,
    ``ServingError`` for a port that is taken, ``KeyboardInterrupt`` after Ctrl-C, and what ``flow.trained`` raises.
    """
    key = header(os.environ.get(KEY, ""), KEY) or None
    if key is None and not _own(host):
        raise ConfigError(f"{host} can be reached by others: set {KEY} to the key that they have to send")
    metrics = Metrics()
    with _listening(host, port) as listening:  # a port that is taken is said before anything is loaded
        engine, renew = _engine(config, name, metrics)
        port = listening.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        say(f"http://{shown}:{port}/v1 serves {engine.name} ({engine.fingerprint}); Ctrl-C ends it")
        running = server(application(engine, config.serving, metrics, renew), config.serving, key, metrics)
        # uvicorn finishes what it is doing and then raises the signal again: after SIGTERM that is all.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            running.run(sockets=[listening])
        finally:
            signal.signal(signal.SIGTERM, before)


def server(app: App, limits: ServingConfig, key: str | None, metrics: Metrics) -> uvicorn.Server:
    """The server of an application, behind its guard."""
    settings = uvicorn.Config(
        Guard(app, limits, key, metrics),
        http=type("Patient", (Impatient,), {"patience": limits.body_seconds}),
        ws="none",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=round(limits.answer_seconds) + 1,
    )
    return uvicorn.Server(settings)


def _own(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ServingError(f"{host}:{port} cannot be listened on ({error}); --port 0 takes a free one") from error


def _engine(config: Config, name: str, metrics: Metrics) -> tuple[Local | Upstream, Callable[[], None] | None]:
    """What answers, and what looks whether it should be another version: for a registered alias."""
    if flow.is_registered(name):
        engine = Local(_version(config, name), name, config.serving)
        return engine, Renewal(config, engine, metrics)
    folder = flow.trained(config, name)
    found: Any = planner.load(folder)
    if isinstance(found, ServedPlanner):
        return Upstream(found, config.serving.answer_seconds), None
    if not isinstance(found, TransformersPlanner):
        raise ConfigError(f"{name} is neither a Hugging Face model nor behind a server; nothing else can be served")
    return Local(Loaded(planner=found, fingerprint=content_digest(folder)[:12]), name, config.serving), None


def _version(config: Config, name: str) -> Loaded:
    version = versions.version_of(name, config.registry)
    exact = f"{version.name}/{version.version}"  # the alias may move while this is loaded
    found = TransformersPlanner.load(versions.model(exact, config.registry))
    return Loaded(planner=found, fingerprint=exact)


class Renewal:
    """Loads the version that the alias points at by now. What fails is said once, and the old version goes on."""

    def __init__(self, config: Config, engine: Local, metrics: Metrics) -> None:
        self._config = config
        self._engine = engine
        self._metrics = metrics
        self._said = ""

    def __call__(self) -> None:
        """Look, and exchange the version between two batches."""
        name = self._engine.name
        try:
            version = versions.version_of(name, self._config.registry)
            if f"{version.name}/{version.version}" == self._engine.fingerprint:
                return
            self._engine.loaded = _version(self._config, name)
        except Exception as error:  # a registry that is away must not end the service
            self._metrics.renewals["failed"] += 1
            if str(error) != self._said:
                log.warning("tracer serve: %s goes on as %s: %s", name, self._engine.fingerprint, error)
            self._said = str(error)
            return
        self._said = ""
        self._metrics.renewals["done"] += 1
        log.info("tracer serve: %s is %s now", name, self._engine.fingerprint)


class Impatient(H11Protocol):
    """Drops a connection on which nothing happens: a request's head that does not come, an answer nobody takes."""

    patience = 15.0
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the request."""
        super().connection_made(transport)
        self._wait(0.0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _wait(self, idle: float) -> None:
        """Look every second; a request that is being read or answered has the guard's time limits."""
        answering = self.cycle is not None and not self.cycle.response_complete
        stuck = self.flow.write_paused or (not answering and self.timeout_keep_alive_task is None)
        idle = idle + 1.0 if stuck else 0.0
        if idle > self.patience:
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(1.0, self._wait, idle)

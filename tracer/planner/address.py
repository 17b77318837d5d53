"""The address of a planner behind a server: ``openai:http://HOST:PORT/v1#MODEL``, wherever a planner is asked for.

It becomes a folder like every other planner's, whose ``planner.json`` holds the address, the model's name there and the
prompt's settings, so that evaluations and lineage treat it like any other.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from tracer.http_parts import split
from tracer.json_files import write_json
from tracer.planner.plan import SETTINGS, PlannerSettings
from tracer.planner.settings import PlannerConfig
from tracer.settings import ConfigError

BACKEND = "openai"
PREFIX = f"{BACKEND}:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a planner is served, and how patiently it is asked."""

    url: str
    model: str
    """Its name on the server: for lineage, its identity. Weights that change under one name are not noticed."""
    seconds: float = 120.0
    """Time-out of a request, until its answer begins and until that ends."""
    retries: int = 4
    """How often a request is sent again that failed by a time-out, a broken connection, 408, 409, 429 or 5xx; after
    a pause that doubles, or as long as the server asks for."""
    concurrency: int = 16
    """Requests at the same time."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.model} at {self.url}"


def is_served(name: str) -> bool:
    """Whether a planner's name is an address."""
    return name.startswith(PREFIX)


def label(name: str) -> str:
    """A name for folders: the end of the model's, and eight digits of the whole address. Raises ``ConfigError``."""
    model = re.sub(r"[^A-Za-z0-9.]+", "-", parse(name).model)[-40:].lstrip("-.")
    return f"{model}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def parse(name: str) -> Endpoint:
    """The address in ``openai:URL#MODEL``; the path is /v1 unless one is given. Raises ``ConfigError``."""
    url, _, model = name.removeprefix(PREFIX).partition("#")
    parts = split(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not model:
        raise ConfigError(f"{name!r} is no served planner; write openai:http://HOST:PORT/v1#MODEL")
    if parts.username or parts.query:
        raise ConfigError(f"the address of {model} is kept in files; give its key as OPENAI_API_KEY")
    return Endpoint(url=url.rstrip("/") if parts.path.strip("/") else f"{url.rstrip('/')}/v1", model=model)


def folder(name: str, config: PlannerConfig, parent: Path) -> Path:
    """Write the planner's folder under ``parent``; raises ``ConfigError``."""
    place = parent / f"served-{label(name)}"
    place.mkdir(parents=True, exist_ok=True)
    settings = asdict(PlannerSettings.of(config))
    write_json(place / SETTINGS, {"backend": BACKEND, **asdict(parse(name)), **settings})
    return place

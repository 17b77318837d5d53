"""The section ``serving`` of params.yaml."""

from __future__ import annotations

from pydantic import Field

from tracer.settings import Section


class ServingConfig(Section):
    """What ``tracer serve`` allows a request, and how it runs the planner."""

    batch: int = Field(default=32, gt=0)
    """Requests that the planner answers together: those that came while it was busy."""
    queue: int = Field(default=64, gt=0)
    """Requests that are read, wait or are answered at the same time; another one is told to come later (429)."""
    max_body: int = Field(default=8 * 2**20, gt=0)
    """Bytes of a request's body."""
    max_pixels: int = Field(default=16_000_000, gt=0)
    """Pixels of a picture."""
    max_tokens: int = Field(default=1024, gt=0)
    """The most tokens of an answer, whatever a request asks for."""
    body_seconds: float = Field(default=15.0, gt=0)
    """How long a request may take to arrive, and a client to take its answer."""
    answer_seconds: float = Field(default=120.0, gt=0)
    """How long a request may wait and be answered, before it is told to come later (503)."""
    follow_seconds: float = Field(default=10.0, gt=0)
    """How often the registry is asked whether the alias points at another version."""

"""The addresses of films: how a page refers to an episode, or to a recorded state, that ``tracer view`` shows."""

from __future__ import annotations

from urllib.parse import quote

HOST = "127.0.0.1"
PORT = 8765
"""Where ``tracer view`` serves its page unless it is told otherwise."""


def film_id(kind: str, planner: str, case: str) -> str:
    """What names a film: ``online`` or ``recorded``, the planner, and the episode or trajectory."""
    return f"{kind}/{planner}/{case}"


def address(kind: str, planner: str, case: str, turn: int = 1) -> str:
    """The address of a film while ``tracer view`` runs; ``turn`` as the film numbers them, from 1."""
    return f"http://{HOST}:{PORT}/#{quote(film_id(kind, planner, case), safe='')}&turn={turn}"

"""The pages of the tests on a server of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.services import listening

SITE = Path(__file__).parent / "site"


class Quiet(SimpleHTTPRequestHandler):
    """Says nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Every request would be a line among the tests'."""


@contextmanager
def served(folder: Path = SITE) -> Iterator[str]:
    """The address of a folder, with a slash at its end."""
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))) as server:
        yield f"http://127.0.0.1:{server.server_port}/"

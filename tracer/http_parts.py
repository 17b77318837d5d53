"""What people give of an HTTP request, an address and a header's value: checked before a library stumbles over it."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from tracer.settings import ConfigError


def split(url: str) -> SplitResult:
    """The parts of an address, whose port is a number; raises ``ConfigError``."""
    try:
        parts = urlsplit(url)
        if not url.isprintable() or parts.port == 0:
            raise ValueError("a character that is not printed, or port 0")
    except ValueError as error:
        raise ConfigError(f"{url!r} is no address: {error}") from error
    return parts


def header(value: str, source: str) -> str:
    """A value as an HTTP header has it, without space around it, such as a secret with the line end of its file.

    Raises ``ConfigError`` for what no header can have; it names the ``source`` and does not show the value, as an HTTP
    library would.
    """
    value = value.strip()
    if not (value.isascii() and value.isprintable()):
        raise ConfigError(f"{source} has a line end, or another character that no HTTP header can have: write it again")
    return value

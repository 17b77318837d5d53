"""The address of a page, as people write it, and whether there is a page."""

from __future__ import annotations

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from tracer.http_parts import split
from tracer.settings import ConfigError

_OTHER_SCHEMES = r"(?!(?:about|blob|data|file|javascript|mailto):)"
_HOST = re.compile(
    rf"{_OTHER_SCHEMES}(?:[\w-]+(?:\.[\w-]+)+|localhost|[\w.-]+(?=:\d)|\[[\da-fA-F:]+\])(?::\d+)?(?:[/?#].*)?"
)
"""A host, perhaps with a port and a path, and no scheme."""


class NoPage(ConfigError):
    """There is no page at an address; the message says why, and what to do."""


def page_address(url: str, schemes: Collection[str] = ("http", "https")) -> str:
    """The address, with ``http://`` where only a host was given; raises ``ConfigError`` for what is none."""
    url = f"http://{url}" if _HOST.fullmatch(url) else url
    parts = split(url)
    if parts.scheme not in schemes or not (parts.hostname or parts.scheme == "file"):
        raise ConfigError(f"{url!r} is no address of a web page; write http://... or https://...")
    return url


async def visit(tab: Any, url: str) -> None:
    """Open a page; raises ``NoPage`` for one that cannot be reached, and for a status of 400 or above."""
    from playwright.async_api import Error

    asked = [url]
    tab.on("request", lambda request: asked.append(request.url) if request.is_navigation_request() else None)
    try:
        response = await tab.goto(url)
    except Error as error:
        reason = re.search(r"net::\w+", str(error))
        does_not = f"does not open ({reason[0] if reason else str(error).splitlines()[0]})"
        if (host := urlsplit(asked[-1]).hostname) != urlsplit(url).hostname:
            raise NoPage(f"{url} leads to {host!a}, which {does_not}: `tracer act` needs --allow for it") from error
        raise NoPage(f"{url} {does_not}: look at the address, and whether its server is running") from error
    if response is not None and response.status >= HTTPStatus.BAD_REQUEST:
        raise NoPage(f"{url} answers with status {response.status}, which is no page to act on: look at the address")

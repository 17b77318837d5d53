"""The door: who may ask, how large and how slow a request may be, and how many are inside at a time.

Every request is answered. One that is refused is read to its end first, as far as is bearable, and thrown away: a
client that is still sending would otherwise see a broken connection in place of the reason.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from starlette.responses import JSONResponse

from tracer.serving.metrics import Metrics
from tracer.serving.settings import ServingConfig
from tracer.serving.wire import ApiError

log = logging.getLogger(__name__)
MessageDict = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MessageDict]]
Send = Callable[[MessageDict], Awaitable[None]]
App = Callable[[MessageDict, Receive, Send], Awaitable[None]]
LOCAL = ("127.0.0.1", "localhost", "[::1]")
HEALTH = "/health"
"""Open to everybody: whoever starts and stops servers has no key."""
BEARABLE = 4
"""How many times the largest body is read of one that is refused."""


class Gone(Exception):
    """The client went away."""


class Guard:
    """Wraps the application."""

    def __init__(self, app: App, limits: ServingConfig, key: str | None, metrics: Metrics) -> None:
        """Without a key only this machine may ask, under a name of this machine."""
        self._app = app
        self._limits = limits
        self._key = key
        self._metrics = metrics

    async def __call__(self, scope: MessageDict, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, statuses = time.monotonic(), []

        async def noting(message: MessageDict) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            refusal = await self._answer(scope, receive, noting)
        except Gone:
            return
        except Exception:
            log.exception("tracer serve: %s %s", scope["method"], scope["path"])
            refusal = ApiError(500, "the server failed; its log says why")
        if refusal is not None and not statuses:
            response = JSONResponse(refusal.document, refusal.status, refusal.headers)
            await response(dict(scope), receive, noting)
        path = scope["route"].path if "route" in scope else "other"
        self._metrics.count(path, statuses[0] if statuses else 500, time.monotonic() - began)

    async def _answer(self, scope: MessageDict, receive: Receive, send: Send) -> ApiError | None:
        headers = {name.decode("latin-1"): value for name, value in scope["headers"]}
        try:
            if scope["path"] != HEALTH:
                self._admit(headers)
            if scope["method"] != "POST":
                await self._app(scope, receive, send)
                return None
            if self._metrics.inside >= self._limits.queue:
                raise ApiError(429, "as many requests as this server takes are waiting", code="rate_limit_exceeded")
            self._metrics.inside += 1
            try:
                whole = await self._body(headers, receive)
                async with asyncio.timeout(self._limits.answer_seconds):
                    await self._app(scope, _replay(whole, receive), send)
            finally:
                self._metrics.inside -= 1
        except TimeoutError:
            return ApiError(503, f"no answer within {self._limits.answer_seconds:g} seconds")
        except ApiError as error:
            await self._discard(receive)
            return error
        return None

    def _admit(self, headers: Mapping[str, bytes]) -> None:
        """Raises ``ApiError`` for a caller without the key or, where there is none, from another site's page."""
        if self._key is not None:
            given = headers.get("authorization", b"").removeprefix(b"Bearer ")
            if not hmac.compare_digest(given, self._key.encode()):
                raise ApiError(401, "a wrong API key, or none; it is sent as a bearer token", code="invalid_api_key")
        elif re.sub(r":\d*$", "", headers.get("host", b"").decode("latin-1")) not in LOCAL:
            # Another site's page can make a browser ask this address under a name of its own.
            raise ApiError(403, "this server answers to the names of its own machine alone")

    async def _body(self, headers: Mapping[str, bytes], receive: Receive) -> bytes:
        if headers.get("content-type", b"").partition(b";")[0].strip().lower() != b"application/json":
            raise ApiError(415, "the body is JSON: Content-Type: application/json")
        most, whole, more = self._limits.max_body, bytearray(), True
        too_large = ApiError(413, f"the body has more than {most} bytes", code="request_too_large")
        length = headers.get("content-length", b"0")
        if length.isdigit() and int(length) > most:
            raise too_large
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while more:
                    piece, more = await _next(receive)
                    whole += piece
                    if len(whole) > most:
                        raise too_large
        except TimeoutError as error:
            raise ApiError(408, f"the body did not arrive within {self._limits.body_seconds:g} seconds") from error
        return bytes(whole)

    async def _discard(self, receive: Receive) -> None:
        left, more = BEARABLE * self._limits.max_body, True
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while more and left > 0:
                    piece, more = await _next(receive)
                    left -= len(piece)
        except TimeoutError:
            return


async def _next(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    return message.get("body", b""), message.get("more_body", False)


def _replay(whole: bytes, receive: Receive) -> Receive:
    """What receives a body that was read already."""
    left: list[MessageDict] = [{"type": "http.request", "body": whole, "more_body": False}]

    async def replay() -> MessageDict:
        return left.pop() if left else await receive()

    return replay

"""The routes: OpenAI's chat completions and list of models, ``/forecast``, ``/health`` and ``/metrics``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from tracer.exposition import TYPE
from tracer.serving.forecasting import Forecaster
from tracer.serving.guard import HEALTH
from tracer.serving.local import Local
from tracer.serving.metrics import Metrics
from tracer.serving.settings import ServingConfig
from tracer.serving.upstream import Upstream
from tracer.serving.wire import ApiError, ChatRequest, ForecastRequest, chunks


def application(
    engine: Local | Upstream, limits: ServingConfig, metrics: Metrics, renew: Callable[[], None] | None = None
) -> FastAPI:
    """The application, without the guard. ``renew`` is called in a thread every ``follow_seconds``."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(_follow(renew, limits.follow_seconds)) if renew else None
        yield
        if following:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        await engine.close()

    app = FastAPI(title="tracer serve", docs_url=None, redoc_url=None, lifespan=life)
    _routes(app, engine, metrics, Forecaster(engine, limits))
    app.add_exception_handler(ApiError, lambda _, error: _refused(error))
    app.add_exception_handler(RequestValidationError, lambda _, error: _refused(_invalid(error)))
    app.add_exception_handler(HTTPException, lambda _, error: _refused(_unknown(error)))
    app.add_exception_handler(Exception, lambda *_: _refused(ApiError(500, "the server failed; its log says why")))
    return app


def _routes(app: FastAPI, engine: Local | Upstream, metrics: Metrics, forecaster: Forecaster) -> None:
    def model() -> dict[str, Any]:
        return {"id": engine.name, "object": "model", "created": 0, "owned_by": engine.fingerprint}

    def known(name: str) -> None:
        if name != engine.name:
            message = f"the model {name!r} does not exist; this server has {engine.name!r}"
            raise ApiError(404, message, param="model", code="model_not_found")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model()]}

    @app.get("/v1/models/{name:path}")
    async def one(name: str) -> dict[str, Any]:
        known(name)
        return model()

    @app.post("/v1/chat/completions")
    async def complete(asked: ChatRequest) -> Response:
        known(asked.model)
        whole = await engine.complete(asked)
        _count(metrics, whole)
        if not asked.stream:
            return JSONResponse(whole)
        parts = [f"data: {json.dumps(part)}\n\n" for part in chunks(whole)]
        return StreamingResponse(iter([*parts, "data: [DONE]\n\n"]), media_type="text/event-stream")

    @app.post("/forecast")
    async def forecast(asked: ForecastRequest) -> dict[str, Any]:
        answer = await forecaster(asked)
        _count(metrics, answer)
        return answer

    @app.get(HEALTH)
    async def health() -> JSONResponse:
        document = {"status": "ok" if engine.alive else "the planner's thread has ended", "model": engine.name}
        return JSONResponse({**document, "fingerprint": engine.fingerprint}, 200 if engine.alive else 503)

    @app.get("/metrics")
    async def measured() -> Response:
        return Response(metrics.text(engine.fingerprint, engine.alive), media_type=TYPE)


async def _follow(renew: Callable[[], None], seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(renew)


def _count(metrics: Metrics, answer: dict[str, Any]) -> None:
    usage = answer.get("usage") or {}
    for kind in ("prompt", "completion"):
        metrics.tokens[kind] += usage.get(f"{kind}_tokens", 0)


def _refused(error: ApiError) -> JSONResponse:
    return JSONResponse(error.document, error.status, error.headers)


def _invalid(error: Any) -> ApiError:
    """What is wrong with a body, for its first fault."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return ApiError(400, f"the body is no JSON: {first['ctx']['error']} at character {first['loc'][-1]}")
    where = ".".join(str(part) for part in first["loc"][1:])
    return ApiError(400, f"{where or 'the body'}: {first['msg']}", param=where or None)


def _unknown(error: Any) -> ApiError:
    return ApiError(error.status_code, str(error.detail))

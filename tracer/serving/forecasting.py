"""``/forecast``: a screen and a goal in; the steps, how sure the planner is, and a drawn picture out."""

from __future__ import annotations

import asyncio
import base64
from importlib.util import find_spec
from typing import Any

from tracer.forecast import MAX_HORIZON
from tracer.grammars.grammar import grammar
from tracer.planner.served import Completion, chat_request, plan_of
from tracer.reporting import overlay
from tracer.serving.local import Local, read_picture
from tracer.serving.settings import ServingConfig
from tracer.serving.upstream import Upstream
from tracer.serving.wire import ApiError, ChatRequest, ForecastRequest, picture_bytes
from tracer.tools import screen
from tracer.tools.ocr import OcrLocator
from tracer.trajectory import Element, State


class Forecaster:
    """Asks the engine, as any other client would."""

    def __init__(self, engine: Local | Upstream, limits: ServingConfig) -> None:
        self._engine = engine
        self._limits = limits
        self._reader = OcrLocator()
        self._reading = asyncio.Lock()  # OCR takes as much of the processor as it finds

    async def __call__(self, asked: ForecastRequest) -> dict[str, Any]:
        """The answer's document. Raises ``ApiError``."""
        state = await self._state(asked)
        settings = self._engine.settings
        horizon = min(asked.horizon or settings.horizon, MAX_HORIZON)
        request = ChatRequest.model_validate(chat_request(state, settings, self._engine.name))
        whole = await self._engine.complete(request, state)
        plan = plan_of(Completion.model_validate(whole), grammar(settings.grammar, settings.parse), state, horizon)
        drawn = await asyncio.to_thread(overlay.paint, state, plan.forecast, error=plan.error)
        steps = [{"instruction": step.instruction, "action": step.action.to_dict()} for step in plan.forecast or ()]
        return {
            "model": self._engine.name,
            "system_fingerprint": whole.get("system_fingerprint"),
            "goal": state.goal,
            "steps": steps,
            "confidence": plan.confidence,
            "error": plan.error,
            "answer": plan.text,
            "picture": f"data:image/png;base64,{base64.b64encode(drawn).decode()}",
            "usage": whole.get("usage"),
        }

    async def _state(self, asked: ForecastRequest) -> State:
        content = picture_bytes(asked.image, "image")
        size = (await asyncio.to_thread(read_picture, content, self._limits, "image")).size
        if asked.elements is None:
            if find_spec("rapidocr_onnxruntime") is None:
                raise ApiError(501, "without OCR (the extra `ocr`) the elements have to be sent", param="elements")
            async with self._reading:
                read = await asyncio.to_thread(screen.state_of, content, asked.goal, "the picture", self._reader)
            elements = read.elements
        else:
            elements = tuple(Element(**each.model_dump()) for each in asked.elements)
        return State(
            goal=asked.goal,
            image=content,
            width=size[0],
            height=size[1],
            elements=elements,
            history=tuple(asked.history),
            observation=asked.observation,
        )

"""A planner behind an OpenAI-compatible server: vLLM, ``transformers serve``, or a vendor's."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any

from openai import OpenAI, OpenAIError
from PIL import Image

from tracer.grammars.grammar import grammar
from tracer.json_files import read_json
from tracer.planner.address import Endpoint
from tracer.planner.plan import SETTINGS, Plan, PlannerSettings
from tracer.planner.prompt import messages
from tracer.trajectory import State

AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg"}
"""The formats in which every server reads a picture; others are sent as PNG."""


class ServerError(RuntimeError):
    """The server gave no answer, after all retries."""


class ServedPlanner:
    """Asks a server for forecasts."""

    def __init__(self, endpoint: Endpoint, settings: PlannerSettings, name: str) -> None:
        self.endpoint = endpoint
        self.settings = settings
        self.name = name
        self._grammar = grammar(settings.grammar, settings.parse)
        self._client = OpenAI(
            base_url=endpoint.url,
            api_key=os.environ.get("OPENAI_API_KEY") or "none",  # what a server without keys is told
            timeout=endpoint.seconds,
            max_retries=endpoint.retries,
        )

    @classmethod
    def load(cls, folder: str | Path) -> ServedPlanner:
        """The planner that a folder's ``planner.json`` describes: an ``Endpoint``, and the prompt's settings."""
        document = read_json(Path(folder) / SETTINGS, "url", "model", "grammar")
        endpoint, settings = (
            {each.name: document[each.name] for each in fields(kind) if each.name in document}
            for kind in (Endpoint, PlannerSettings)
        )
        return cls(Endpoint(**endpoint), PlannerSettings(**settings), name=f"{endpoint['model']} at {endpoint['url']}")

    def forecast(self, states: Sequence[State], horizon: int, attempt: int = 0) -> list[Plan]:
        """One plan per state, in order. Raises ``ServerError`` as soon as a state stays without an answer."""
        pool = ThreadPoolExecutor(self.endpoint.concurrency)
        try:
            return list(pool.map(lambda state: self._plan(state, horizon, attempt), states))
        finally:
            pool.shutdown(cancel_futures=True)

    def _plan(self, state: State, horizon: int, attempt: int) -> Plan:
        request = self.request(state, attempt)
        try:
            answer = self._client.chat.completions.create(**request)
        except (OpenAIError, ValueError) as error:  # JSON that is none is a ValueError
            raise ServerError(
                f"{self.name} gave no answer ({type(error).__name__}: {error}); is the server up, does it serve that "
                f"model, and is OPENAI_API_KEY its key?"
            ) from error
        if not getattr(answer, "choices", None):  # the library returns whatever it was sent
            raise ServerError(f"{self.name} sent no chat completion but {str(answer)[:200]!r}; is the address right?")
        text = answer.choices[0].message.content or ""
        reading = self._grammar.read(text, state, horizon)
        tokens = answer.usage.completion_tokens if answer.usage else 0
        return Plan(text=text, forecast=reading.forecast, error=reading.error, tokens=tokens)

    def request(self, state: State, attempt: int) -> dict[str, Any]:
        """The chat completion that is asked for: greedy, or for an attempt above 0 a sample that has its own seed."""
        conversation = messages(state, self.settings)
        seen = json.dumps([attempt, conversation])
        for part in conversation[0]["content"] if self.settings.image else []:
            if part["type"] == "image":
                part |= {"type": "image_url", "image_url": {"url": data_url(state)}}
        return {
            "model": self.endpoint.model,
            "messages": conversation,
            "max_tokens": self.settings.max_new_tokens,
            "temperature": 1.0 if attempt else 0.0,
            "top_p": 1.0,
            "seed": int.from_bytes(hashlib.sha256(seen.encode()).digest()[:4]) >> 1,  # servers take 31 bits at least
        }


def data_url(state: State) -> str:
    """The screenshot, as a URL that contains it; raises ``ValueError`` for a state without one."""
    if state.image is None:
        raise ValueError(f"the planner reads the screenshot, and the state of goal {state.goal[:60]!r} has none")
    data, picture = state.image, Image.open(io.BytesIO(state.image))
    kind = AS_THEY_ARE.get(picture.format or "") if picture.mode == "RGB" else None
    if kind is None:
        written = io.BytesIO()
        picture.convert("RGB").save(written, "PNG")
        kind, data = "image/png", written.getvalue()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"

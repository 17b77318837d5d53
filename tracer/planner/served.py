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
from openai.types.chat import ChatCompletion
from PIL import Image

from tracer.grammars.grammar import grammar
from tracer.grammars.reading import Grammar
from tracer.json_files import read_json
from tracer.planner.address import Endpoint
from tracer.planner.plan import SETTINGS, Plan, PlannerSettings, mean_probability
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
        self.key = api_key()
        self._client = client(endpoint, self.key)

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
        request = chat_request(state, self.settings, self.endpoint.model, attempt)
        try:
            answer = self._client.chat.completions.create(**request)
        except (OpenAIError, ValueError) as error:  # JSON that is none is a ValueError
            raise ServerError(
                f"{self.name} gave no answer ({type(error).__name__}: {error}); is the server up, does it serve that "
                f"model, and is OPENAI_API_KEY its key?"
            ) from error
        if not getattr(answer, "choices", None):  # the library returns whatever it was sent
            raise ServerError(f"{self.name} sent no chat completion but {str(answer)[:200]!r}; is the address right?")
        return plan_of(answer, self._grammar, state, horizon)


def api_key() -> str:
    """The key from the environment, or what a server without keys is told."""
    return os.environ.get("OPENAI_API_KEY") or "none"


def client(endpoint: Endpoint, key: str) -> OpenAI:
    """Who talks to the server, as patiently as the endpoint says."""
    return OpenAI(base_url=endpoint.url, api_key=key, timeout=endpoint.seconds, max_retries=endpoint.retries)


def chat_request(state: State, settings: PlannerSettings, model: str, attempt: int = 0) -> dict[str, Any]:
    """The chat completion to ask for: greedy, or for an attempt above 0 a sample that has its own seed."""
    conversation = messages(state, settings)
    seen = json.dumps([attempt, conversation])
    for part in conversation[0]["content"] if settings.image else []:
        if part["type"] == "image":
            part |= {"type": "image_url", "image_url": {"url": data_url(state)}}
    return {
        "model": model,
        "messages": conversation,
        "max_tokens": settings.max_new_tokens,
        "temperature": 1.0 if attempt else 0.0,
        "top_p": 1.0,
        "seed": int.from_bytes(hashlib.sha256(seen.encode()).digest()[:4]) >> 1,  # servers take 31 bits at least
        "logprobs": True,
    }


def plan_of(answer: ChatCompletion, rules: Grammar, state: State, horizon: int) -> Plan:
    """The plan in a server's answer, which has a choice; its confidence, where the server gives log-probabilities."""
    choice = answer.choices[0]
    text = choice.message.content or ""
    reading = rules.read(text, state, horizon)
    given = [token.logprob for token in (choice.logprobs.content or ())] if choice.logprobs else []
    return Plan(
        text=text,
        forecast=reading.forecast,
        error=reading.error,
        tokens=answer.usage.completion_tokens if answer.usage else 0,
        confidence=mean_probability(given) if given else None,
    )


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

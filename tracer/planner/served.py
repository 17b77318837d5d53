"""A planner behind an OpenAI-compatible server: vLLM, ``transformers serve``, or a vendor's."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx2
from openai import DefaultHttpxClient, OpenAI, OpenAIError
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tracer.faults import faults
from tracer.grammars.grammar import grammar
from tracer.grammars.reading import Grammar
from tracer.http_parts import header
from tracer.json_files import read_json
from tracer.planner.address import Endpoint
from tracer.planner.plan import SETTINGS, Plan, PlannerSettings, mean_probability
from tracer.planner.prompt import messages
from tracer.threads import side_by_side
from tracer.trajectory import State

AS_THEY_ARE = {"PNG": "image/png", "JPEG": "image/jpeg"}
"""The formats in which every server reads a picture; others are sent as PNG."""
MOST_BYTES = 16 * 2**20
"""Of an answer; the longest, with the log-probabilities of its tokens, has less than one."""


class ServerError(RuntimeError):
    """The server gave no answer, after all retries."""


class Received(BaseModel):
    """What is read of an answer; whatever else is in it is kept."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Token(Received):
    """A token of the answer."""

    logprob: float


class Logprobs(Received):
    """The tokens of the answer."""

    content: list[Token] | None = None


class Message(Received):
    """The answer."""

    content: str | None = None


class Choice(Received):
    """One of the answers; one is asked for."""

    message: Message
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Usage(Received):
    """What the answer took."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class Completion(Received):
    """A chat completion, by what is needed of it: servers leave out what OpenAI's own always has."""

    choices: list[Choice] = Field(min_length=1)
    usage: Usage | None = None


class ServedPlanner:
    """Asks a server for forecasts."""

    def __init__(self, endpoint: Endpoint, settings: PlannerSettings) -> None:
        self.endpoint = endpoint
        self.settings = settings
        self.name = endpoint.name
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
        return cls(Endpoint(**endpoint), PlannerSettings(**settings))

    def forecast(self, states: Sequence[State], horizon: int, attempt: int = 0) -> list[Plan]:
        """One plan per state, in order. Raises ``ServerError`` as soon as a state stays without an answer."""
        return side_by_side(self.endpoint.concurrency, lambda state: self._plan(state, horizon, attempt), states)

    def _plan(self, state: State, horizon: int, attempt: int) -> Plan:
        request = chat_request(state, self.settings, self.endpoint.model, attempt)
        return plan_of(ask(self._client, self.name, request), self._grammar, state, horizon)


def ask(asked: OpenAI, name: str, request: dict[str, Any]) -> Completion:
    """What a server answers to a request; ``name`` says which server. Raises ``ServerError``."""
    try:
        content = asked.chat.completions.with_raw_response.create(**request).content
    except OpenAIError as error:
        why = f"{type(error).__name__}: {error}" + (f" {error.__cause__}" if error.__cause__ else "")
        raise ServerError(
            f"{name} gave no answer ({why}); is the server up, does it serve that model, and is OPENAI_API_KEY its key?"
        ) from error
    try:
        return Completion.model_validate_json(content)
    except ValidationError as error:
        sent = content[:200].decode("utf-8", "replace")
        raise ServerError(
            f"{name} sent no chat completion but {sent!r} ({faults(error)[:200]}); is the address right?"
        ) from error


def api_key() -> str:
    """The key from the environment, or what a server without keys is told. Raises ``ConfigError``."""
    return header(os.environ.get("OPENAI_API_KEY", ""), "OPENAI_API_KEY") or "none"


class Bounded(httpx2.SyncByteStream):
    """A body that comes to an end: a time-out alone is one of every piece of it."""

    def __init__(self, body: Any, seconds: float) -> None:
        self._body, self._deadline = body, time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for piece in self._body:
            size += len(piece)
            if size > MOST_BYTES or time.monotonic() > self._deadline:
                raise httpx2.ReadTimeout(f"the answer has {size} bytes and no end")
            yield piece

    def close(self) -> None:
        """Close the body."""
        self._body.close()


def client(endpoint: Endpoint, key: str) -> OpenAI:
    """Who talks to the server, as patiently as the endpoint says."""

    def bound(response: httpx2.Response) -> None:
        response.stream = Bounded(response.stream, endpoint.seconds)

    return OpenAI(
        base_url=endpoint.url, api_key=key, timeout=endpoint.seconds, max_retries=endpoint.retries,
        http_client=DefaultHttpxClient(timeout=endpoint.seconds, event_hooks={"response": [bound]}),
    )  # fmt: skip


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


def plan_of(answer: Completion, rules: Grammar, state: State, horizon: int) -> Plan:
    """The plan in a server's answer; its confidence, where the server gives log-probabilities."""
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

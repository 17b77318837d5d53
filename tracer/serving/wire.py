"""What goes over the wire: chat completions and their errors as OpenAI's interface documents them, and forecasts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

RETRY_AFTER = "1"
KINDS = {401: "authentication_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is not answered: a status, and the document that says why."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.document = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        self.headers = {"Retry-After": RETRY_AFTER} if status in (429, 503) else {}


class Wire(BaseModel):
    """An object of a request; an argument that is not known is refused, as it might change the answer."""

    # With a limit of its length a text is looked at: half of a surrogate pair, which JSON can write, is no text.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_max_length=2**30)


class TextPart(Wire):
    """Text in a message."""

    type: Literal["text"]
    text: str


class ImageUrl(Wire):
    """A picture as a data URL; nothing is fetched."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(Wire):
    """A picture in a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


class Message(Wire):
    """One turn of the conversation."""

    role: Literal["system", "user", "assistant"]
    content: str | list[TextPart | ImagePart]
    name: str | None = None

    @property
    def pictures(self) -> list[str]:
        """The URLs of its pictures."""
        parts = [] if isinstance(self.content, str) else self.content
        return [part.image_url.url for part in parts if isinstance(part, ImagePart)]


class ChatRequest(Wire):
    """A chat completion that is asked for. What cannot be done has one value alone."""

    model: str
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    seed: int | None = None
    logprobs: bool | None = None
    stream: bool | None = None
    top_p: float = Field(default=1.0, ge=1, le=1)
    n: int = Field(default=1, ge=1, le=1)
    top_logprobs: int | None = Field(default=None, ge=0, le=0)
    frequency_penalty: float = Field(default=0.0, ge=0, le=0)
    presence_penalty: float = Field(default=0.0, ge=0, le=0)
    stream_options: JsonValue = None
    user: JsonValue = None
    metadata: JsonValue = None
    store: JsonValue = None


class ElementIn(Wire):
    """An element of the screen, its box in fractions of it."""

    role: str
    text: str
    box: tuple[float, float, float, float]
    value: str = ""
    state: str = ""


class ForecastRequest(Wire):
    """A forecast that is asked for: a goal, and the screen it is to be reached on."""

    goal: str = Field(min_length=1)
    image: str
    """The screenshot, as a data URL or as plain base64."""
    elements: list[ElementIn] | None = None
    """What is on the screen; by default the lines of text that OCR reads."""
    history: list[str] = []
    """The instructions of the steps that were taken so far."""
    observation: str = ""
    horizon: int | None = Field(default=None, ge=1)


def picture_bytes(url: str, param: str) -> bytes:
    """The bytes of a data URL or of plain base64. Raises ``ApiError``."""
    head, comma, data = url.rpartition(",")
    if comma and not (head.startswith("data:image/") and head.endswith(";base64")):
        raise ApiError(400, "a picture is sent as a data URL, data:image/png;base64,...", param=param)
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(400, f"a picture is sent as a data URL, and this is none: {error}", param=param) from error


def completion(
    identity: dict[str, Any],
    text: str,
    ended: bool,
    tokens: Sequence[tuple[str, float]] | None,
    usage: tuple[int, int],
) -> dict[str, Any]:
    """A chat completion with one choice. ``usage``: the tokens of prompt and answer."""
    content = [
        {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": []}
        for token, logprob in tokens or ()
    ]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "finish_reason": "stop" if ended else "length",
        "logprobs": None if tokens is None else {"content": content, "refusal": None},
    }
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return {**identity, "object": "chat.completion", "choices": [choice], "usage": counted}


def chunks(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A finished completion as the pieces of a stream: all of the text, and then why it ends."""
    choice = whole["choices"][0]
    head: dict[str, Any] = {name: whole[name] for name in ("id", "created", "model") if name in whole}
    said = {"role": "assistant", "content": choice["message"]["content"]}
    for delta, reason in ((said, None), ({}, choice["finish_reason"])):
        part = {"index": 0, "delta": delta, "finish_reason": reason}
        yield {**head, "object": "chat.completion.chunk", "choices": [part]}

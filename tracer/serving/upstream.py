"""A planner behind another server, such as vLLM, which has no keys, no limits and no ``/forecast``."""

from __future__ import annotations

from typing import Any

from openai import APIStatusError, AsyncOpenAI, OpenAIError
from pydantic import ValidationError

from tracer.faults import faults
from tracer.planner.served import Completion, ServedPlanner
from tracer.serving.wire import ApiError, ChatRequest
from tracer.trajectory import State

AGAIN = (408, 429, 500, 502, 503, 504)
"""What the other server may answer otherwise in a moment."""
OURS = (401, 403)
"""What it answers to a key that is not its own."""


class Upstream:
    """Passes requests on."""

    alive = True

    def __init__(self, planner: ServedPlanner, seconds: float) -> None:
        self.name = planner.endpoint.model
        self.settings = planner.settings
        self.fingerprint = planner.endpoint.url
        self._client = AsyncOpenAI(
            base_url=planner.endpoint.url, api_key=planner.key, timeout=seconds, max_retries=planner.endpoint.retries
        )

    async def complete(self, request: ChatRequest, state: State | None = None) -> dict[str, Any]:
        """The other server's chat completion. Raises ``ApiError``: its refusal, or 503 where it is silent."""
        body = request.model_dump(exclude_unset=True, exclude={"stream", "stream_options"})
        try:
            answer = await self._client.chat.completions.with_raw_response.create(**body)
        except APIStatusError as error:
            if error.status_code in OURS:  # not the fault of who asks, and its message may show a part of the key
                raise ApiError(502, "the server behind this one refuses this one; OPENAI_API_KEY is its key") from error
            if error.status_code in AGAIN:
                raise ApiError(503, f"the server behind this one is busy: {error.message[:200]}") from error
            raise ApiError(error.status_code, error.message[:500]) from error
        except OpenAIError as error:
            raise ApiError(503, f"the server behind this one gives no answer ({type(error).__name__})") from error
        try:
            return Completion.model_validate_json(answer.content).model_dump(mode="json")
        except ValidationError as error:
            raise ApiError(502, f"the server behind this one sent no chat completion: {faults(error)[:200]}") from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

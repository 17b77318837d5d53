"""A planner behind another server, such as vLLM, which has no keys, no limits and no ``/forecast``."""

from __future__ import annotations

from typing import Any

from openai import APIConnectionError, APIStatusError, AsyncOpenAI, OpenAIError

from tracer.planner.served import ServedPlanner
from tracer.serving.wire import ApiError, ChatRequest
from tracer.trajectory import State

AGAIN = (408, 429, 500, 502, 503, 504)
"""What the other server may answer otherwise in a moment."""


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
            answer = await self._client.chat.completions.create(**body)
        except APIStatusError as error:
            if error.status_code in AGAIN:
                raise ApiError(503, f"the server behind this one is busy: {error.message[:200]}") from error
            raise ApiError(error.status_code, error.message[:500]) from error
        except (APIConnectionError, OpenAIError, ValueError) as error:
            raise ApiError(503, f"the server behind this one gives no answer ({type(error).__name__})") from error
        if not getattr(answer, "choices", None):  # the library returns whatever it was sent
            raise ApiError(502, "the server behind this one sent no chat completion")
        return answer.model_dump(mode="json", exclude_unset=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

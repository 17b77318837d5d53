"""A planner in this process: one thread answers what has come in meanwhile, in one batch."""

from __future__ import annotations

import asyncio
import io
import queue
import random
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError
from PIL import Image

from tracer.planner.escape import control_tokens, escaped
from tracer.planner.plan import PlannerSettings
from tracer.planner.transformers import Answer, Gumbel, TransformersPlanner
from tracer.serving.settings import ServingConfig
from tracer.serving.wire import ApiError, ChatRequest, Message, completion, picture_bytes
from tracer.sources.source import Refused
from tracer.tools.screen import size_of
from tracer.trajectory import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A planner with its weights, and what names them."""

    planner: TransformersPlanner
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An answer, and what it took."""

    answer: Answer
    tokens: list[tuple[str, float]]
    prompt_tokens: int
    by: Loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A request that waits for its answer."""

    request: ChatRequest
    pictures: list[Image.Image]
    limit: int
    state: State | None
    seed: int
    written: Future[Written] = field(default_factory=Future)


class Local:
    """Runs the planner that ``loaded`` holds, which may be exchanged at any time: between two batches."""

    def __init__(self, loaded: Loaded, name: str, limits: ServingConfig) -> None:
        self.loaded = loaded
        self.name = name
        self._limits = limits
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, name="planner", daemon=True)
        self._worker.start()

    @property
    def settings(self) -> PlannerSettings:
        """How the planner is asked."""
        return self.loaded.planner.settings

    @property
    def fingerprint(self) -> str:
        """Which weights answer."""
        return self.loaded.fingerprint

    @property
    def alive(self) -> bool:
        """Whether anything answers."""
        return self._worker.is_alive()

    async def complete(self, request: ChatRequest, state: State | None = None) -> dict[str, Any]:
        """The chat completion; ``state`` holds it to the grammar, where the planner's settings do. Raises
        ``ApiError``."""
        pictures = await asyncio.to_thread(self._pictures, request.messages)
        asked = request.max_completion_tokens or request.max_tokens or self.settings.max_new_tokens
        seed = random.getrandbits(31) if request.seed is None else request.seed
        limit = min(asked, self._limits.max_tokens)
        job = Job(request=request, pictures=pictures, limit=limit, state=state, seed=seed)
        self._jobs.put(job)
        written = await asyncio.wrap_future(job.written)
        identity = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": self.name,
            "system_fingerprint": written.by.fingerprint,
        }
        usage = (written.prompt_tokens, len(written.answer.tokens))
        tokens = written.tokens if request.logprobs else None
        return completion(identity, written.answer.text, written.answer.ended, tokens, usage)

    async def close(self) -> None:
        """Answer what waits, and end."""
        self._jobs.put(None)
        await asyncio.to_thread(self._worker.join)

    def _pictures(self, messages: Sequence[Message]) -> list[Image.Image]:
        urls = [url for message in messages for url in message.pictures]
        wanted = int(self.settings.image)
        if len(urls) != wanted:
            what = "reads one screenshot a request" if wanted else "reads no pictures"
            raise ApiError(400, f"this planner {what}, and {len(urls)} were sent", param="messages")
        return [read_picture(picture_bytes(url, "messages"), self._limits, "messages") for url in urls]

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            while len(jobs) < self._limits.batch and not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    self._jobs.put(None)  # what came before the end is answered
                    break
                jobs.append(job)
            # Nobody waits for what was cancelled.
            self._answer([each for each in jobs if each.written.set_running_or_notify_cancel()])

    def _answer(self, jobs: Sequence[Job]) -> None:
        try:
            found = write(self.loaded, jobs) if jobs else []
        except Exception as error:  # whatever a model raises, the server answers the next request
            for job in jobs if len(jobs) > 1 else ():  # one request's fault is not the others'
                self._answer([job])
            if len(jobs) == 1:
                jobs[0].written.set_exception(error)
        else:
            for job, written in zip(jobs, found, strict=True):
                job.written.set_result(written)


def write(loaded: Loaded, jobs: Sequence[Job]) -> list[Written]:
    """The answers to the jobs, in one batch. Raises ``ApiError`` for a prompt that cannot be one or is too long."""
    planner = loaded.planner
    inputs = planner.encode_texts([prompt(planner, job.request.messages) for job in jobs],
                                  [picture for job in jobs for picture in job.pictures])  # fmt: skip
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    room = planner.model.config.get_text_config().max_position_embeddings
    for job, length in zip(jobs, lengths, strict=True):
        if length + job.limit > room:
            message = f"the prompt has {length} tokens and its answer {job.limit}; this planner reads {room} in all"
            raise ApiError(400, message, param="messages", code="context_length_exceeded")
    temperatures = [job.request.temperature for job in jobs]
    noise = Gumbel([str(job.seed) for job in jobs], temperatures) if any(temperatures) else None
    answers = planner.generate(inputs, max(job.limit for job in jobs), [job.state for job in jobs], noise)
    return [
        Written(answer=answer, tokens=_tokens(planner, answer), prompt_tokens=length, by=loaded)
        for answer, length in zip(map(_cut, [planner] * len(jobs), answers, jobs), lengths, strict=True)
    ]


def prompt(planner: TransformersPlanner, messages: Sequence[Message]) -> str:
    """The conversation in the planner's chat template; no text of it is taken for a control token."""
    tokens = control_tokens(planner.processor)

    def part(each: Any) -> dict[str, str]:
        return {"type": "text", "text": escaped(each.text, tokens)} if each.type == "text" else {"type": "image"}

    conversation = [
        {
            "role": message.role,
            "content": escaped(message.content, tokens)
            if isinstance(message.content, str)
            else [part(each) for each in message.content],
        }
        for message in messages
    ]
    try:
        return str(planner.processor.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False))
    except TemplateError as error:
        raise ApiError(400, f"the planner's chat template does not take this: {error}", param="messages") from error


def read_picture(content: bytes, limits: ServingConfig, param: str) -> Image.Image:
    """A picture in RGB. Raises ``ApiError`` for what is none, or is too large."""
    try:
        size_of(content, "the picture", limits.max_pixels)
    except Refused as error:
        raise ApiError(400, error.detail, param=param, code="invalid_image") from error
    return Image.open(io.BytesIO(content)).convert("RGB")


def _cut(planner: TransformersPlanner, answer: Answer, job: Job) -> Answer:
    """The answer within the job's own limit: a batch is as long as its longest."""
    if len(answer.tokens) <= job.limit and (answer.ended or len(answer.tokens) == job.limit):
        return answer
    tokens = answer.tokens[: job.limit]
    text = planner.tokenizer.decode(tokens, skip_special_tokens=True)
    return Answer(text=text, tokens=tokens, logprobs=answer.logprobs[: job.limit], ended=len(tokens) < job.limit)


def _tokens(planner: TransformersPlanner, answer: Answer) -> list[tuple[str, float]]:
    texts = planner.tokenizer.batch_decode([[token] for token in answer.tokens])
    return list(zip(texts, answer.logprobs, strict=True))

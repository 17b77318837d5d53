"""A frozen tool agent behind an OpenAI-compatible server: UI-TARS, or another model that finds places on screens."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import replace

from PIL import Image

from tracer.grammars.conventions import ConventionError, parse, smart_resize
from tracer.planner import address
from tracer.planner.address import Endpoint
from tracer.planner.served import api_key, ask, client, data_url
from tracer.settings import ConfigError
from tracer.tools.settings import GroundingConfig
from tracer.tools.tool_agent import Locator
from tracer.trajectory import Point, State, inside

CACHED = 65_536
"""Places that are kept, by screen and instruction."""
MOST_TOKENS = 128
PIXELS = ("ui-tars-1.5", "qwen2.5-vl")
"""The conventions whose coordinates are pixels of the picture as the model sees it, and not thousandths of it."""
SCREEN = (0.0, 0.0, 1.0, 1.0)
ACTION = "Thought: ...\nAction: click(start_box='(x,y)')"
CALL = '<tool_call>\n{"name": "mobile_use", "arguments": {"action": "click", "coordinate": [x, y]}}\n</tool_call>'
ANSWERS = {"ui-tars": ACTION, "ui-tars-1.5": ACTION, "qwen3-vl": CALL, "qwen2.5-vl": CALL}
PROMPT = """\
You are a GUI agent. You are given a task and a screenshot. Find the place on the screenshot where the task is done, and
answer with one click there, whatever else the task says to do at that place.

## Output format
{answer}

## Task
{instruction}
"""


class ServedLocator(Locator):
    """Asks each screen and instruction once. Several are asked at the same time, from as many threads."""

    name = "served"
    together = 16
    """How many steps are grounded at the same time."""

    def __init__(self, endpoint: Endpoint, convention: str) -> None:
        self.endpoint, self.convention = endpoint, convention
        self._client = client(endpoint, api_key())
        self._lock = threading.Lock()
        self._asked: OrderedDict[tuple[str, str], Future[Point | None]] = OrderedDict()

    @classmethod
    def of(cls, config: GroundingConfig) -> ServedLocator:
        """The model that ``grounding.model`` names; raises ``ConfigError``."""
        if not config.model:
            raise ConfigError("grounding.agent is `served`: set grounding.model to openai:http://HOST:PORT/v1#MODEL")
        return cls(address.parse(config.model), config.convention)

    def find(self, state: State, instruction: str) -> Point | None:
        """Where the model clicks; None where its answer is no place. Raises ``ServerError``, which is no answer."""
        if state.image is None:
            return None
        key = (hashlib.sha256(state.image).hexdigest(), instruction)
        with self._lock:
            found, new = self._asked.get(key), Future[Point | None]()
            if found is None:
                self._asked[key] = new
                if len(self._asked) > CACHED:
                    self._asked.popitem(last=False)
        if found is not None:  # another thread has asked, or does now
            return found.result()
        try:
            new.set_result(self._ask(state, instruction))
        except BaseException as error:
            with self._lock:
                self._asked.pop(key, None)
            new.set_exception(error)
        return new.result()

    def _ask(self, state: State, instruction: str) -> Point | None:
        text = PROMPT.format(answer=ANSWERS[self.convention], instruction=instruction)
        try:
            # Resized here, the server's processor leaves the picture as it is, whatever limits it was started with.
            shown = resized(state) if self.convention in PIXELS else state
        except ConventionError:
            return None  # the model's processor takes no picture so narrow
        picture = {"type": "image_url", "image_url": {"url": data_url(shown)}}
        request = {
            "model": self.endpoint.model,
            "messages": [{"role": "user", "content": [picture, {"type": "text", "text": text}]}],
            "max_tokens": MOST_TOKENS,
            "temperature": 0.0,
        }
        answer = ask(self._client, self.endpoint.name, request)
        try:
            said = answer.choices[0].message.content or ""
            point = parse(said, self.convention, size=(shown.width, shown.height)).point
        except ConventionError:
            return None  # it finds nothing, or breaks its own rules
        return point if point is not None and inside(point, SCREEN) else None


def resized(state: State) -> State:
    """The state with its picture in the size that Qwen2-VL's processor would give it, as PNG."""
    with Image.open(io.BytesIO(state.image or b"")) as opened:
        width, height = smart_resize(opened.size)
        written = io.BytesIO()
        opened.convert("RGB").resize((width, height), Image.Resampling.BICUBIC).save(written, "PNG")
    return replace(state, image=written.getvalue(), width=width, height=height)

"""A grounding model behind a server: its prompt, its coordinates, and what is asked how often."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from tests.episodes import picture
from tests.services import listening
from tracer import tools
from tracer.action import Action
from tracer.config import Config
from tracer.examples import Example
from tracer.forecast import ForecastStep
from tracer.planner.grounding import ServedLocator
from tracer.planner.served import ServerError
from tracer.settings import ConfigError
from tracer.tools.settings import GroundingConfig
from tracer.training import stage2
from tracer.trajectory import State

WIDTH, HEIGHT = 1920, 1080
TARGET = (0.3, 0.7)
CLICK = "Thought: there it is\nAction: click(start_box='({x},{y})')"
CALL = '<tool_call>\n{{"name": "mobile_use", "arguments": {{"action": "click", "coordinate": [{x}, {y}]}}}}'
FORMATS = {"ui-tars": CLICK, "ui-tars-1.5": CLICK, "qwen3-vl": CALL, "qwen2.5-vl": CALL}


class Model(ThreadingHTTPServer):
    """Clicks on ``TARGET``, as a model of its convention says it of the picture that it was sent."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.convention, self.says, self.seconds = "ui-tars", "", 0.0
        self.asked: list[dict[str, Any]] = []
        self.busy = self.most = 0
        self.lock = threading.Lock()

    def agent(self, **changes: Any) -> ServedLocator:
        name = f"openai:http://127.0.0.1:{self.server_port}#grounder"
        found = tools.load(GroundingConfig(agent="served", model=name, convention=self.convention, **changes))
        assert isinstance(found, ServedLocator)
        return found

    def answer(self, request: dict[str, Any]) -> str:
        image, text = request["messages"][0]["content"]
        with Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].partition(",")[2]))) as opened:
            self.asked.append({"text": text["text"], "size": opened.size, "model": request["model"]})
            pixels = self.convention in ("ui-tars-1.5", "qwen2.5-vl")
            wide, high = opened.size if pixels else (1000, 1000)
        return self.says or FORMATS[self.convention].format(x=round(TARGET[0] * wide), y=round(TARGET[1] * high))


class Handler(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.busy += 1
            self.server.most = max(self.server.most, self.server.busy)
        time.sleep(self.server.seconds)
        with self.server.lock:
            self.server.busy -= 1
            message = {"role": "assistant", "content": self.server.answer(request)}
        choices = [{"index": 0, "finish_reason": "stop", "message": message}]
        body = {"id": "1", "object": "chat.completion", "created": 1, "model": "grounder", "choices": choices}
        text = json.dumps({} if self.server.says == "nothing" else body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def model() -> Iterator[Model]:
    with listening(Model()) as made:
        yield made


def screen(name: str = "screen") -> State:
    return State(goal="g", image=picture(name, WIDTH, HEIGHT), width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("convention", FORMATS)
def test_a_place_is_read_in_the_models_own_coordinates(model: Model, convention: str) -> None:
    model.convention = convention
    found = model.agent().find(screen(), 'click the button "Save {now}"')
    assert found == pytest.approx(TARGET, abs=1e-3)
    (asked,) = model.asked
    assert 'click the button "Save {now}"' in asked["text"] and asked["model"] == "grounder"
    assert ("Action: click(start_box=" if "tars" in convention else '"action": "click", "coordinate"') in asked["text"]
    pixels = convention in ("ui-tars-1.5", "qwen2.5-vl")
    assert asked["size"] == ((1316, 728) if pixels else (WIDTH, HEIGHT))  # Qwen2-VL's processor: multiples of 28, 1 MP


def test_a_screen_and_an_instruction_are_asked_about_once(model: Model) -> None:
    agent, model.seconds = model.agent(), 0.3
    asked = [(screen(name), f"click {number}") for name in ("one", "two") for number in range(4)] * 3
    with ThreadPoolExecutor(8) as pool:
        places = list(pool.map(lambda each: agent.find(*each), asked))
    assert places == [pytest.approx(TARGET)] * 24
    assert len(model.asked) == 8 and model.most > 1
    assert agent.find(State(goal="no screen"), "click 1") is None and len(model.asked) == 8


@pytest.mark.parametrize(
    "says",
    ["I see nothing.", "Action: finished()", "Action: click(start_box='(1200,50)')", "Action: click(start_box='')"],
)
def test_an_answer_that_is_no_place_grounds_nothing(model: Model, says: str) -> None:
    model.says = says
    step = ForecastStep(action=Action.of("click", x=0.5, y=0.5), instruction='click "Save"')
    assert model.agent().ground(screen(), step) is None


@pytest.mark.parametrize("convention", FORMATS)
def test_a_screen_too_narrow_for_the_models_processor_grounds_nothing(model: Model, convention: str) -> None:
    model.convention = convention
    strip = State(goal="g", image=picture("strip", 2010, 10), width=2010, height=10)
    asked = convention in ("ui-tars", "qwen3-vl")  # in thousandths, the picture goes as it is
    assert model.agent().find(strip, "click it") == (pytest.approx(TARGET, abs=1e-3) if asked else None)


def test_no_answer_is_an_error_and_is_asked_for_again(model: Model) -> None:
    agent, model.says = model.agent(), "nothing"
    with pytest.raises(ServerError, match=r"grounder at http://127\.0\.0\.1.* sent no chat completion"):
        agent.find(screen(), "click it")
    model.says = ""
    assert agent.find(screen(), "click it") == pytest.approx(TARGET)


def test_without_a_model_it_says_what_to_set() -> None:
    with pytest.raises(ConfigError, match=r"set grounding.model to openai:http://HOST:PORT/v1#MODEL"):
        tools.load(GroundingConfig(agent="served"))
    assert tools.together(GroundingConfig(agent="served")) == 16 and tools.together(GroundingConfig()) == 1


def test_stage_two_grounds_a_batch_at_once(model: Model) -> None:
    model.seconds = 0.3
    name = f"openai:http://127.0.0.1:{model.server_port}#grounder"
    config = Config.model_validate(
        {"profile": "t", "planner": {"grammar": "literal"}, "grounding": {"agent": "served", "model": name}}
    )
    prompts = [
        Example(
            trajectory=f"t/{number}", step=0, task="t", split="train", state=screen(), remaining=1,
            reference=(ForecastStep(action=Action.of("click", x=x, y=0.7), instruction="click it"),),
        )
        for number, x in enumerate((0.3, 0.8, 0.3, 0.8))
    ]  # fmt: skip
    lines = [json.dumps({"action": "click", "x": 1, "y": 1, "step": f"click {number}"}) for number in range(4)]
    scored = stage2.STAGE.objective(config).scored(prompts, lines)
    assert [each.total for each in scored] == [1.0, 0.0, 1.0, 0.0]
    assert model.most > 1

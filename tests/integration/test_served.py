"""Planners behind a server: the contract, faults included, with a small server here; and `transformers serve`."""

from __future__ import annotations

import base64
import io
import json
import math
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.planners import micro_config, trajectories, write_base
from tests.services import free_port, listening
from tracer import flow, planner
from tracer.cli import main
from tracer.dataset import read
from tracer.evaluation import offline
from tracer.evaluation.results import read_scores
from tracer.examples import examples
from tracer.planner import address
from tracer.planner.plan import PlannerSettings
from tracer.planner.served import ServedPlanner, ServerError
from tracer.planner.settings import PlannerConfig
from tracer.planner.transformers import TransformersPlanner
from tracer.settings import ConfigError
from tracer.trajectory import State

ANSWER = json.dumps({"action": "click", "x": 100, "y": 200, "step": 'click "One"'})
Fault = Callable[[BaseHTTPRequestHandler], None]


class Server(ThreadingHTTPServer):
    """Answers every chat completion with ``ANSWER``, after the ``faults``, one a request."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.faults: list[Fault] = []
        self.seconds = 0.0
        self.busy = self.most = 0
        self.lock = threading.Lock()

    @property
    def name(self) -> str:
        return f"openai:http://127.0.0.1:{self.server_port}#small"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.requests.append({"path": self.path, **body})
            self.server.keys.add(self.headers["Authorization"])
            self.server.busy += 1
            self.server.most = max(self.server.most, self.server.busy)
            fault = self.server.faults.pop(0) if self.server.faults else None
        time.sleep(self.server.seconds)
        # Before the answer: the next request may come as soon as it is there.
        with self.server.lock:
            self.server.busy -= 1
        if fault:
            fault(self)
        else:
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": ANSWER}}
            usage = {"prompt_tokens": 50, "completion_tokens": 17, "total_tokens": 67}
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "small"}
            send(self, 200, json.dumps({**answer, "choices": [choice], "usage": usage}))

    def log_message(self, *_: Any) -> None:
        pass


def send(handler: BaseHTTPRequestHandler, status: int, text: str, kind: str = "application/json", **more: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Type": kind, "Content-Length": str(len(text.encode())), **more}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(text.encode())


def answer(handler: BaseHTTPRequestHandler, **more: Any) -> None:
    """A completion of one choice and nothing else."""
    send(handler, 200, json.dumps({"choices": [{"message": {"content": ANSWER}, **more}]}))


def drip(handler: BaseHTTPRequestHandler, size: int, pause: float) -> None:
    """Pieces of an answer, until the other side has enough."""
    handler.send_response(200)
    handler.end_headers()
    with suppress(OSError):
        while True:
            handler.wfile.write(b" " * size)
            time.sleep(pause)


@pytest.fixture
def server() -> Iterator[Server]:
    with listening(Server()) as made:
        yield made


def asking(server: Server, tmp_path: Path, **changes: Any) -> ServedPlanner:
    """The planner of that server, loaded from its folder as everything loads one."""
    config = PlannerConfig(grammar="literal", horizon=3, max_new_tokens=33, image=changes.pop("image", False))
    folder = address.folder(server.name, config, tmp_path)
    document = json.loads((folder / "planner.json").read_text())
    (folder / "planner.json").write_text(json.dumps({**document, **changes}))
    loaded = planner.load(folder)
    assert isinstance(loaded, ServedPlanner)
    return loaded


def states(count: int) -> list[State]:
    return [State(goal=f"round {number}") for number in range(count)]


def test_an_answer_is_read_and_counted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-in-files")
    plans = asking(server, tmp_path).forecast(states(2), horizon=3)
    assert [plan.forecast[0].instruction for plan in plans if plan.forecast] == ['click "One"'] * 2
    assert [plan.tokens for plan in plans] == [17, 17]
    asked = server.requests[0]
    assert (asked["path"], asked["model"]) == ("/v1/chat/completions", "small")
    assert (asked["temperature"], asked["max_tokens"]) == (0.0, 33)
    assert "Goal: round" in asked["messages"][0]["content"]
    assert server.keys == {"Bearer sk-not-in-files"}
    assert not any("sk-not" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_order_is_kept_and_concurrency_bounded(server: Server, tmp_path: Path) -> None:
    server.seconds = 0.05
    served = asking(server, tmp_path, concurrency=3)
    assert len(served.forecast(states(12), horizon=1)) == 12
    assert server.most == 3
    goals = [request["messages"][0]["content"] for request in server.requests]
    assert sorted(goals) != [] and len(set(goals)) == 12


def test_a_sample_has_the_seed_of_its_state_and_attempt(server: Server, tmp_path: Path) -> None:
    served = asking(server, tmp_path, concurrency=1)
    for attempt in (1, 2, 1):
        served.forecast(states(2), horizon=1, attempt=attempt)
    seeds = [request["seed"] for request in server.requests]
    assert seeds[:2] == seeds[4:] and len(set(seeds)) == 4 and all(0 <= seed < 2**31 for seed in seeds)
    assert {request["temperature"] for request in server.requests} == {1.0}


@pytest.mark.parametrize(("mode", "format"), [("RGB", "PNG"), ("RGB", "JPEG"), ("RGBA", "PNG"), ("RGB", "WEBP")])
def test_pictures_are_data_urls(server: Server, tmp_path: Path, mode: str, format: str) -> None:
    written = io.BytesIO()
    Image.new(mode, (8, 4), "red").save(written, format)
    asking(server, tmp_path, image=True).forecast([State(goal="look", image=written.getvalue())], horizon=1)
    picture, text = server.requests[0]["messages"][0]["content"]
    assert text["type"] == "text" and "Goal: look" in text["text"]
    kind, _, data = picture["image_url"]["url"].partition(";base64,")
    shown = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == f"data:image/{'jpeg' if format == 'JPEG' else 'png'}" and (shown.mode, shown.size) == ("RGB", (8, 4))
    with pytest.raises(ValueError, match="the state of goal 'blind' has none"):
        asking(server, tmp_path, image=True).forecast([State(goal="blind")], horizon=1)


FAULTS: dict[str, Fault] = {
    "too many requests": lambda handler: send(handler, 429, "{}", Retry_After="0"),
    "a server error": lambda handler: send(handler, 503, "busy", "text/plain", Retry_After="0"),
    "a broken connection": lambda handler: handler.connection.shutdown(socket.SHUT_RDWR),
    "no answer in time": lambda handler: time.sleep(3),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_may_pass_is_tried_again(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults = [FAULTS[fault]]
    (plan,) = asking(server, tmp_path, seconds=1.0).forecast(states(1), horizon=1)
    assert plan.forecast and len(server.requests) == 2


LASTING: dict[str, tuple[Fault, str]] = {
    "no such model": (lambda handler: send(handler, 404, '{"error": {"message": "no small"}}'), "no small"),
    "a wrong key": (lambda handler: send(handler, 401, '{"error": {"message": "who?"}}'), "is OPENAI_API_KEY its key"),
    "broken JSON": (lambda handler: send(handler, 200, "{"), "sent no chat completion but '{'"),
    "a page": (lambda handler: send(handler, 200, "<html>hello", "text/html"), "no chat completion but '<html>hello'"),
    "no choice": (lambda handler: send(handler, 200, "{}"), "no chat completion"),
    "no body": (lambda handler: send(handler, 200, ""), "no chat completion but ''"),
    "no object": (lambda handler: send(handler, 200, "[]"), "should be an object"),
    "choices that are none": (lambda handler: send(handler, 200, '{"choices": [3]}'), "choices.0: "),
    "no message": (lambda handler: answer(handler, message=None), "choices.0.message: "),
    "content in parts": (lambda handler: answer(handler, message={"content": [{"text": "x"}]}), "message.content: "),
    "tokens that say nothing": (lambda handler: answer(handler, logprobs={"content": [{}]}), "content.0.logprob: "),
    "no number": (lambda handler: answer(handler, logprobs={"content": [{"logprob": math.nan}]}), "content.0.logprob"),
    "an answer without an end": (lambda handler: drip(handler, 2**10, 0.05), "timed out"),
    "an endless answer": (lambda handler: drip(handler, 2**24, 0.0), "timed out"),
}


@pytest.mark.parametrize("fault", LASTING)
def test_what_will_not_pass_is_said_at_once(server: Server, tmp_path: Path, fault: str) -> None:
    server.faults = [LASTING[fault][0]]
    with pytest.raises(ServerError, match=LASTING[fault][1]):
        asking(server, tmp_path, seconds=1.0, retries=0).forecast(states(1), horizon=1)
    assert len(server.requests) == 1


def test_an_answer_needs_no_more_than_its_text(server: Server, tmp_path: Path) -> None:
    """Of a server that says little, and of one whose rounding makes a token more than certain."""
    tokens = {"content": [{"logprob": 1e-7}, {"logprob": 0}]}
    server.faults = [answer, lambda handler: answer(handler, logprobs=tokens)]
    (little,), (sure,) = (asking(server, tmp_path).forecast(states(1), horizon=1) for _ in range(2))
    assert little.forecast == sure.forecast and little.forecast is not None
    assert (little.tokens, little.confidence, sure.confidence) == (0, None, 1.0)


@pytest.mark.parametrize("key", ["sk-\nsecret", "sk-s\u00e9cret"])
def test_a_key_that_no_header_can_have_is_not_shown(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", " sk-right\n")
    asking(server, tmp_path).forecast(states(1), horizon=1)
    assert server.keys == {"Bearer sk-right"}
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY has a line end") as raised:
        asking(server, tmp_path)
    assert "sk-" not in str(raised.value)


def test_a_server_that_stays_away_ends_the_batch(server: Server, tmp_path: Path) -> None:
    server.faults = [FAULTS["a server error"]] * 500
    with pytest.raises(ServerError, match="is the server up"):
        asking(server, tmp_path, retries=1, concurrency=2).forecast(states(200), horizon=1)
    assert len(server.requests) < 20


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("openai:127.0.0.1:8000#small", "write openai:http"),
        ("openai:http://127.0.0.1:8000", "write openai:http"),
        ("openai:https://me:secret@host/v1#small", "give its key as OPENAI_API_KEY"),  # pragma: allowlist secret
        ("openai:https://host/v1?key=secret#small", "give its key as OPENAI_API_KEY"),
        ("openai:http://[::1/v1#small", "is no address: Invalid IPv6 URL"),
        ("openai:http://host:http/v1#small", "is no address: Port could not be cast"),
        ("openai:http://host:99999/v1#small", "is no address: Port out of range"),
        ("openai:http://ho\x00st/v1#small", "a character that is not printed"),
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        address.folder(name, PlannerConfig(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_address_is_a_planner_of_the_flow(server: Server, tmp_path: Path) -> None:
    """It is evaluated, found finished when asked again, and another prompt makes it another planner."""
    shards = trajectories(tmp_path)
    given = {"grammar": "literal", "image": False, "horizon": 2}
    config = micro_config(tmp_path / "base", image=False).model_copy(update={"planner": PlannerConfig(**given)})
    step = flow.evaluation("offline", server.name)
    assert step.name.startswith("evaluate-small-") and "/" not in step.name
    folders = step.folders(config, {"ingest": shards})
    out = tmp_path / "evaluated"
    lineage = offline.evaluate(config, shards, folders[server.name], out)
    assert read_scores(out)["splits"]["test"]["metrics"]["step"]["mean"] is not None
    asked = len(server.requests)
    assert asked == lineage["metrics"].get("states", asked)
    assert offline.evaluate(config, shards, flow.model(config, server.name), out)["digest"] == lineage["digest"]
    assert len(server.requests) == asked
    other = config.model_copy(update={"planner": PlannerConfig(**given, history=1)})
    assert offline.recipe(other, shards, flow.model(other, server.name)) != offline.recipe(config, shards, out)


def test_a_server_that_is_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    picture = tmp_path / "screen.png"
    Image.new("RGB", (64, 64), "white").save(picture)
    name, build = f"openai:http://127.0.0.1:{free_port()}#small", f"build={tmp_path}"
    assert main(["forecast", name, "--image", str(picture), "--goal", "look", "--set", build]) == 1
    assert "is the server up" in capsys.readouterr().err.splitlines()[-1]


def healthy(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except OSError:
        return False
    return True


@contextmanager
def transformers_serve(model: Path, log: Path) -> Iterator[str]:
    """`transformers serve` of that model; its address."""
    port = free_port()
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model), "--port", str(port)]
    with (
        open(log, "w", encoding="utf-8") as file,
        subprocess.Popen([*command, "--host", "127.0.0.1", "--device", "cpu"], stdout=file, stderr=file) as process,
    ):
        try:
            deadline = time.monotonic() + 400  # eight seconds on a machine that has nothing else to do
            while not healthy(port):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")[-2000:]
                time.sleep(0.2)
            yield f"openai:http://127.0.0.1:{port}/v1#{model}"
        finally:
            process.terminate()


@pytest.mark.parametrize("image", [False, True])
def test_transformers_serve_answers_as_the_planner_in_this_process(tmp_path: Path, image: bool) -> None:
    shards = trajectories(tmp_path)
    model = write_base(tmp_path / "base", shards, image=image, steps=12) / "model"  # so little that samples differ
    settings = model / "generation_config.json"  # this server samples only where the model says so
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "do_sample": True}))
    shown = [example.state for split in ("train", "test") for example in examples(read(shards, split=split), 2)]
    ours = TransformersPlanner.load(model)
    expected = [ours.forecast([state], horizon=2)[0] for state in shown]
    with transformers_serve(model, tmp_path / "log") as name:
        config = PlannerConfig(image=image, horizon=2, max_new_tokens=16)
        assert PlannerSettings.of(config) == ours.settings
        served = planner.load(address.folder(name, config, tmp_path))
        plans = served.forecast(shown, horizon=2)
        sampled = [served.forecast(shown[:1], horizon=2, attempt=attempt)[0].text for attempt in (1, 1, 2, 3, 4)]
    assert [plan.text for plan in plans] == [plan.text for plan in expected]
    assert all(plan.tokens > 0 for plan in plans)
    assert sampled[0] == sampled[1] and len(set(sampled)) > 1

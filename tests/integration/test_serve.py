"""`tracer serve`: OpenAI's own client, our own planner and evaluation, and whatever else comes through the door."""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from tests.folders import Chain, step
from tests.integration.test_served import Server, send
from tests.integration.test_served import answer as sparing
from tests.planners import micro_config, trajectories, write_base
from tests.services import free_port, listening
from tracer import planner as planners
from tracer.cli import main
from tracer.config import Config
from tracer.dataset import read
from tracer.evaluation import offline
from tracer.evaluation.results import read_rows
from tracer.examples import examples
from tracer.planner import address
from tracer.planner.served import ServedPlanner, chat_request
from tracer.planner.settings import PlannerConfig
from tracer.planner.transformers import TransformersPlanner
from tracer.registry import register, tracking
from tracer.serving import server
from tracer.serving.front import application
from tracer.serving.local import Loaded, Local
from tracer.serving.metrics import Metrics
from tracer.serving.server import Renewal
from tracer.serving.settings import ServingConfig
from tracer.serving.upstream import Upstream
from tracer.trajectory import State

ROOT = Path(__file__).parents[2]
NAME = "tracer-planner@champion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A planner that was taught little, its folder, and states to ask it about."""

    image: bool
    folder: Path
    shards: Path
    planner: TransformersPlanner
    states: list[State]

    def request(self, state: State, **changes: Any) -> dict[str, Any]:
        return {**chat_request(state, self.planner.settings, NAME), **changes}


def made(folder: Path, image: bool) -> Base:
    shards = trajectories(folder)
    model = write_base(folder / "base", shards, image=image, steps=12)
    shown = [example.state for split in ("train", "test") for example in examples(read(shards, split=split), 2)]
    return Base(image=image, folder=model, shards=shards, planner=TransformersPlanner.load(model), states=shown)


@pytest.fixture(scope="module", params=[False, True], ids=["text", "pictures"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    return made(tmp_path_factory.mktemp("served"), request.param)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Base:
    return made(tmp_path_factory.mktemp("text"), False)


@contextmanager
def serving(
    engine: Any, limits: ServingConfig, key: str | None = None, renew: Callable[[], None] | None = None
) -> Iterator[str]:
    """The server, with its guard, on a free port; its address."""
    metrics = Metrics()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        running = server.server(application(engine, limits, metrics, renew), limits, key, metrics)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            running.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def local(base: Base, key: str | None = None, **limits: Any) -> Iterator[str]:
    chosen = ServingConfig(**limits)
    loaded = Loaded(planner=base.planner, fingerprint="tracer-planner/1")
    with serving(Local(loaded, NAME, chosen), chosen, key) as url:
        yield url


@pytest.fixture(scope="module")
def url(base: Base) -> Iterator[str]:
    with local(base) as found:
        yield found


def post(url: str, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, document and headers of an answer."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request("POST", path, sent, given)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document, {name.lower(): value for name, value in answer.headers.items()}


def get(url: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    found = answer.read().decode()
    connection.close()
    return answer.status, found


def test_openai_s_client_gets_the_texts_of_the_planner_in_this_process(base: Base, url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == [NAME] and client.models.retrieve(NAME).id == NAME

    def asked(state: State) -> Any:
        return client.chat.completions.create(**base.request(state))

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(asked, base.states))
    expected = base.planner.forecast(base.states, 2)
    assert [answer.choices[0].message.content for answer in answers] == [plan.text for plan in expected]
    assert [answer.usage.completion_tokens for answer in answers] == [plan.tokens for plan in expected]
    assert {answer.system_fingerprint for answer in answers} == {"tracer-planner/1"}
    assert all(len(answer.choices[0].logprobs.content) == answer.usage.completion_tokens for answer in answers)
    # Samples: a seed repeats itself whatever else is asked, and others differ.
    sampled = [{**base.request(base.states[0]), "temperature": 1.0, "seed": seed} for seed in (1, 1, 2, 3, 4)]
    with ThreadPoolExecutor(5) as pool:
        texts = list(pool.map(lambda each: client.chat.completions.create(**each).choices[0].message.content, sampled))
    assert texts[0] == texts[1] and len(set(texts)) > 1
    cut = client.chat.completions.create(**base.request(base.states[0], max_tokens=1))
    assert (cut.usage.completion_tokens, cut.choices[0].finish_reason) == (1, "length")
    parts = list(client.chat.completions.create(**base.request(base.states[0]), stream=True))
    assert "".join(part.choices[0].delta.content or "" for part in parts) == expected[0].text
    assert parts[-1].choices[0].finish_reason


def test_an_evaluation_through_the_server_has_the_rows_of_one_in_process(base: Base, url: str, tmp_path: Path) -> None:
    config = micro_config(base.folder, image=base.image)
    offline.evaluate(config, base.shards, base.folder, tmp_path / "here")
    served = address.folder(f"openai:{url}#{NAME}", config.planner, tmp_path)
    offline.evaluate(config, base.shards, served, tmp_path / "there")
    rows = read_rows(tmp_path / "here")
    assert rows and read_rows(tmp_path / "there") == rows
    (here,), (there,) = (planners.load(each).forecast(base.states[:1], 2) for each in (base.folder, served))
    assert there.confidence == pytest.approx(here.confidence, rel=1e-3) and 0 < (here.confidence or 0) <= 1


def picture(mode: str = "RGB", size: tuple[int, int] = (160, 210), kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, "white").save(out, kind)
    return out.getvalue()


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def test_a_forecast_has_its_steps_its_confidence_and_a_picture(base: Base, url: str) -> None:
    for state in base.states[:3]:
        image = state.image or picture()
        body = {"goal": state.goal, "image": data_url(image), "history": list(state.history)}
        body["elements"] = [element.to_dict() for element in state.elements or ()]
        status, found, _ = post(url, "/forecast", body)
        (plan,) = base.planner.forecast([state], 2)
        assert status == 200 and found["answer"] == plan.text
        assert [each["instruction"] for each in found["steps"]] == [s.instruction for s in plan.forecast or ()]
        assert found["confidence"] == pytest.approx(plan.confidence, rel=1e-3)
        drawn = Image.open(io.BytesIO(base64.b64decode(found["picture"].partition(",")[2])))
        assert drawn.format == "PNG" and drawn.width >= 480
    # Elements that are not sent are read by OCR.
    graph = base64.b64encode((ROOT / "docs/graph.png").read_bytes()).decode()
    status, found, _ = post(url, "/forecast", {"goal": "Open the report", "image": graph})
    assert status == 200 and found["answer"]


def said(content: Any = "?", **more: Any) -> dict[str, Any]:
    return {"model": NAME, "messages": [{"role": "user", "content": content}]} | more


REFUSED: dict[str, tuple[Any, dict[str, str], int, str | None]] = {
    "broken JSON": (b'{"model": ', {}, 400, None),
    "JSON that is no object": (b"[1]", {}, 400, None),
    "no JSON by its type": (b"{}", {"Content_Type": "text/plain"}, 415, None),
    "another model": (said(model="gpt"), {}, 404, "model"),
    "no messages": (said(messages=[]), {}, 400, "messages"),
    "what is not supported": (said(n=2), {}, 400, "n"),
    "an unknown argument": (said(tols=1), {}, 400, "tols"),
    "half a letter": (said([{"type": "text", "text": "\ud83d"}]), {}, 400, "messages.0.content.constrained-str"),
    "a prompt that is too long": (said("a " * 9000), {}, 400, "messages"),
    "a picture for a reader": (
        said([{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/secret.png"}}]), {}, 400, "messages"
    ),
    "a body that is too large": (b" " * 150_000, {}, 413, None),
    "another site's page": (b"{}", {"Host": "evil.example:80"}, 403, None),
}  # fmt: skip


def test_what_is_refused_is_said_as_the_interface_documents_it(text: Base) -> None:
    with local(text, max_body=100_000) as url:
        for name, (body, headers, expected, param) in REFUSED.items():
            status, document, _ = post(url, "/v1/chat/completions", body, **headers)
            assert status == expected, (name, document)
            assert set(document["error"]) == {"message", "type", "param", "code"} and document["error"]["message"]
            assert document["error"]["param"] == param, name
        assert post(url, "/v1/nowhere", {})[0] == 404
        assert json.loads(get(url, "/v1/chat/completions")[1])["error"]["type"] == "invalid_request_error"
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        with pytest.raises(openai.NotFoundError) as raised:
            client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "?"}])
        assert raised.value.code == "model_not_found"
        status, document = get(url, "/metrics")
        assert status == 200 and 'path="/v1/chat/completions",status="404"} 2' in document


PICTURES = {
    "no base64": "data:image/png;base64,?",
    "an address": "https://example.org/screen.png,",
    "no picture": data_url(b"hello"),
    "half a picture": data_url(picture()[:100]),
    "too many pixels": data_url(picture("1", (3000, 2000))),
    "a column of pixels": data_url(picture("1", (1, 3000))),
}


def test_pictures_that_are_none_or_too_large_are_refused(text: Base) -> None:
    with local(text, max_pixels=1_000_000) as url:
        for name, image in PICTURES.items():
            status, document, _ = post(url, "/forecast", {"goal": "look", "image": image, "elements": []})
            assert (status, document["error"]["param"]) == (400, "image"), name


def test_a_key_is_asked_for_of_everybody_but_health(text: Base) -> None:
    body = text.request(text.states[0])
    with local(text, key="sk-right") as url:
        for given in ("", "Bearer sk-wrong", "sk-righ"):
            status, document, _ = post(url, "/v1/chat/completions", body, Authorization=given)
            assert (status, document["error"]["code"]) == (401, "invalid_api_key")
        assert post(url, "/v1/chat/completions", body, Authorization="Bearer sk-right")[0] == 200
        assert get(url, "/metrics")[0] == 401 and get(url, "/v1/models")[0] == 401
        assert json.loads(get(url, "/health")[1])["status"] == "ok"


def good(url: str, base: Base, number: int) -> tuple[str, int, Any]:
    state = base.states[number % len(base.states)]
    status, document, headers = post(url, "/v1/chat/completions", base.request(state))
    if status == 200:
        return "good", status, (number % len(base.states), document["choices"][0]["message"]["content"])
    return "good", status, headers.get("retry-after")


def oversized(url: str, chunked: bool) -> tuple[str, int, Any]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
    body = iter([b" " * 50_000] * 6) if chunked else b" " * 300_000
    connection.request("POST", "/forecast", body, {"Content-Type": "application/json"}, encode_chunked=chunked)
    answer = connection.getresponse()
    return "oversized", answer.status, answer.headers.get("Retry-After")


def broken(url: str) -> tuple[str, int, Any]:
    status, _, headers = post(url, "/v1/chat/completions", b'{"model": "')
    return "broken", status, headers.get("retry-after")


def slow(url: str, head: bytes) -> tuple[str, int, Any]:
    """A client that begins and does not go on; what the server says in the end, 0 for nothing."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        connection.sendall(head)
        said = b""
        while piece := connection.recv(4096):
            said += piece
            if b"\r\n\r\n" in said:
                break
    status = int(said.split()[1]) if said else 0
    return ("slow" if b"\r\n\r\n" in head else "mute"), status, "1" if b"retry-after: 1" in said.lower() else None


HALF_BODY = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
             b"Content-Length: 90\r\n\r\n{")  # fmt: skip
HALF_HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127."


def test_two_hundred_at_once_each_get_an_answer(text: Base) -> None:
    expected = [plan.text for plan in text.planner.forecast(text.states, 2)]
    with local(text, max_body=100_000, queue=40, batch=16, body_seconds=3.0) as url:
        calls: list[Callable[[], tuple[str, int, Any]]] = []
        for number in range(20):
            calls += [lambda n=number: good(url, text, n)] * 6  # type: ignore[misc]
            calls += [lambda n=number: oversized(url, n % 2 == 0), lambda: broken(url)]  # type: ignore[misc]
            calls += [lambda: slow(url, HALF_BODY), lambda: slow(url, HALF_HEAD)]
        assert len(calls) == 200
        with ThreadPoolExecutor(len(calls)) as pool:
            found = list(pool.map(lambda call: call(), calls))
        counts = Counter((kind, status) for kind, status, _ in found)
        allowed = {"good": {200}, "oversized": {413}, "broken": {400}, "slow": {408}, "mute": {0}}
        for kind, status, more in found:
            assert status in allowed[kind] or (status in (429, 503) and more == "1" and kind != "mute"), counts
            if kind == "good" and status == 200:
                assert more[1] == expected[more[0]]
        assert counts["good", 200] >= 20
        assert good(url, text, 0)[1] == 200 and get(url, "/health")[0] == 200
        assert "tracer_requests_inside 0\n" in get(url, "/metrics")[1]


def test_requests_beyond_the_queue_are_told_to_come_again(text: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    generate, hold = TransformersPlanner.generate, threading.Event()

    def held(self: TransformersPlanner, *arguments: Any) -> Any:
        hold.wait(60)
        return generate(self, *arguments)

    monkeypatch.setattr(TransformersPlanner, "generate", held)
    with local(text, queue=2, answer_seconds=4.0) as url, ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(good, url, text, number) for number in range(2)]
        while "tracer_requests_inside 2\n" not in get(url, "/metrics")[1]:
            time.sleep(0.05)
        assert good(url, text, 0)[1:] == (429, "1")
        assert [each.result()[1:] for each in waiting] == [(503, "1"), (503, "1")]  # nobody answered in time
        hold.set()
        assert good(url, text, 0)[1] == 200


def test_a_request_that_breaks_the_model_fails_alone(text: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = TransformersPlanner.generate

    def failing(self: TransformersPlanner, inputs: Any, limit: int, *more: Any) -> Any:
        if limit == 13 or inputs["input_ids"].shape[0] > 1:
            raise RuntimeError("out of memory")
        return generate(self, inputs, limit, *more)

    monkeypatch.setattr(TransformersPlanner, "generate", failing)
    bodies = [text.request(state, max_tokens=13 if number == 2 else 12) for number, state in enumerate(text.states[:5])]
    with local(text) as url, ThreadPoolExecutor(5) as pool:
        statuses = list(pool.map(lambda body: post(url, "/v1/chat/completions", body)[0], bodies))
    assert statuses == [200, 200, 500, 200, 200]


def test_another_server_s_planner_is_passed_on(text: Base, tmp_path: Path) -> None:
    config = PlannerConfig(image=False, horizon=2, max_new_tokens=16)
    with local(text) as behind:
        folder = address.folder(f"openai:{behind}#{NAME}", config, tmp_path)
        found = planners.load(folder)
        assert isinstance(found, ServedPlanner)
        with serving(Upstream(found, 30.0), ServingConfig()) as url:
            assert good(url, text, 1)[2] == good(behind, text, 1)[2]
            body = {"goal": text.states[0].goal, "image": data_url(picture()), "elements": []}
            assert post(url, "/forecast", body)[1]["confidence"] > 0
            # Its own refusals come through.
            assert post(url, "/v1/chat/completions", text.request(text.states[0], messages=[
                {"role": "user", "content": "a " * 9000}]))[0] == 400  # fmt: skip
    document = json.loads((folder / "planner.json").read_text(encoding="utf-8"))
    dead = {**document, "url": f"http://127.0.0.1:{free_port()}/v1", "retries": 0}
    (folder / "planner.json").write_text(json.dumps(dead), encoding="utf-8")
    with serving(Upstream(ServedPlanner.load(folder), 30.0), ServingConfig()) as url:
        assert good(url, text, 0)[1:] == (503, "1")


def test_what_the_server_behind_does_wrong_is_not_blamed_on_who_asks(tmp_path: Path) -> None:
    with listening(Server()) as behind:
        folder = address.folder(behind.name, PlannerConfig(image=False), tmp_path)
        asked = {"model": "small", "messages": [{"role": "user", "content": "hello"}]}
        behind.faults = [
            sparing,
            lambda handler: send(handler, 401, '{"error": {"message": "wrong: sk-secret"}}'),
            lambda handler: send(handler, 200, "[]"),
        ]
        with serving(Upstream(ServedPlanner.load(folder), 30.0), ServingConfig()) as url:
            found = [post(url, "/v1/chat/completions", asked)[:2] for _ in range(3)]
    assert [status for status, _ in found] == [200, 502, 502]
    assert found[0][1]["choices"][0]["finish_reason"] is None and found[0][1]["choices"][0]["message"]["content"]
    assert "secret" not in str(found[1]) and "no chat completion" in found[2][1]["error"]["message"]


def registered(config: Config, found: Base, number: int) -> int:
    """Register the planner with other weights for each number."""
    chain = Chain(config)
    folder = Path(f"planner{number}")
    with_noise = TransformersPlanner.load(found.folder)
    for weight in with_noise.model.parameters():
        weight.data += number * 0.02
    with_noise.save(folder)
    files: dict[str, Any] = {f"model/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    files["metrics.jsonl"] = [{"reward": 0.1, "unparsable": 0.5}]
    inputs = {"trajectories": chain.ingest, "stage1": config.out("stage1")}
    chain.stage2(number, [1.0] * 12, [1.0] * 12)
    return register.register(config, step("stage2", config, config.out("stage2"), inputs, files), {}).version


def test_an_alias_that_moves_is_followed_without_losing_a_request(
    text: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}
    configs = [
        Config.model_validate({"profile": "t", "seed": n, "data": {"pointer": ""}, "registry": registry})
        for n in (0, 1)
    ]
    first, second = (registered(config, text, number) for number, config in enumerate(configs, start=1))
    client, name = tracking.connect(configs[0].registry), "tracer-planner@staging"
    client.set_registered_model_alias("tracer-planner", "staging", str(first))
    engine, limits, metrics = Local(server._version(configs[0], name), name, ServingConfig()), ServingConfig(
        follow_seconds=0.2
    ), Metrics()  # fmt: skip
    renewal, stop = Renewal(configs[0], engine, metrics), threading.Event()
    with serving(engine, limits, renew=renewal) as url, ThreadPoolExecutor(4) as pool:

        def asking(number: int) -> list[tuple[int, str]]:
            answers = []
            while not stop.is_set():
                body = text.request(text.states[number], model=name)
                status, document, _ = post(url, "/v1/chat/completions", body)
                answers.append((status, document.get("system_fingerprint", "")))
            return answers

        workers = [pool.submit(asking, number) for number in range(3)]
        client.set_registered_model_alias("tracer-planner", "staging", str(second))
        deadline = time.monotonic() + 120
        while engine.fingerprint != f"tracer-planner/{second}" and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        stop.set()
        answers = [answer for worker in workers for answer in worker.result()]
        assert {status for status, _ in answers} == {200}
        assert {mark for _, mark in answers} == {f"tracer-planner/{first}", f"tracer-planner/{second}"}
        # A registry that cannot say anything sensible ends nothing.
        client.delete_registered_model_alias("tracer-planner", "staging")
        renewal()
        assert metrics.renewals["failed"] >= 1 and get(url, "/health")[0] == 200


def test_others_are_let_in_only_with_a_key(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("TRACER_API_KEY", raising=False)
    monkeypatch.chdir(ROOT)
    assert main(["serve", "--model", "base", "--host", "0.0.0.0"]) == 2
    assert "set TRACER_API_KEY" in capsys.readouterr().err


@contextmanager
def started(folder: Path, more: Sequence[str] = ()) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command itself, on the folder of a planner; the process and its address."""
    command = [sys.executable, "-m", "tracer", "serve", "--model", str(folder), "--port", "0", *more]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNDEFAULTENCODING": ""}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        env=environment, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert " serves " in line, process.communicate()[1]
            yield process, line.split("/v1")[0]
        finally:
            process.kill()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_after_the_requests_that_are_being_answered(sent: signal.Signals, text: Base) -> None:
    with started(text.folder) as (process, url), ThreadPoolExecutor(1) as pool:
        body = text.request(text.states[0], model=str(text.folder))
        host, _, port = url.removeprefix("http://").partition(":")
        data = json.dumps(body).encode()
        with socket.create_connection((host, int(port)), timeout=60) as connection:
            head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[:-1])
            time.sleep(1.0)  # the request is inside
            process.send_signal(sent)
            time.sleep(0.5)
            connection.sendall(data[-1:])
            answer = pool.submit(connection.recv, 65536).result(60)
        assert answer.startswith(b"HTTP/1.1 200")
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0
    assert [line for line in said.splitlines() if line.strip() and "Loading weights" not in line] == []

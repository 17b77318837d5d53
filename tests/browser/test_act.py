"""`tracer act` in a real Chromium, on small pages served from here, with a planner whose every step is known."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.services import free_port, listening
from tracer import cli
from tracer.action import Action
from tracer.config import Config
from tracer.environments import website
from tracer.environments.address import NoPage
from tracer.environments.website import WebWorld
from tracer.evaluation import acting
from tracer.evaluation.acting import Errand
from tracer.forecast import ForecastStep
from tracer.instruction import describe
from tracer.planner.plan import Plan
from tracer.reporting.films import reels
from tracer.settings import ConfigError
from tracer.trajectory import centre

pytestmark = pytest.mark.browser
CONFIG = Config(profile="test")
PAGE = """<!doctype html><title>Shop</title><body>
<form method="post" action="/order"><input name="name" placeholder="Name"><button>Send</button></form>
<p><a href="http://localhost:{port}/other">Elsewhere</a> <a href="/redirect">Detour</a>
<a href="/second" target="_blank">Window</a> <a href="/second">Second</a>
<button onclick="window.open('/second')">Open</button>
<button onclick="fetch('http://localhost:{port}/other', {{method: 'POST', mode: 'no-cors', body: 'x'}})">Leak</button>
<button onclick="fetch('/order', {{method: 'POST', body: 'quiet'}})">Quiet</button>
<button onclick="while (true) {{}}">Hang</button></p>"""


class Site(ThreadingHTTPServer):
    """The pages; it remembers what it was asked for, under which name, and what was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"

    def reached(self, path: str) -> list[str]:
        return [body for _, where, body in self.asked if where == path]


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())

    def _answer(self, body: str) -> None:
        self.server.asked.append((self.headers["Host"].partition(":")[0], self.path, body))
        page = PAGE.format(port=self.server.server_port) if self.path == "/" else f"<p>This is {self.path}</p>"
        self.send_response({"/redirect": 302, "/missing": 404}.get(self.path, 200))
        if self.path == "/redirect":
            self.send_header("Location", f"http://localhost:{self.server.server_port}/other")
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with listening(Site()) as made:
        yield made


class Script:
    """Clicks the elements of these texts, in this order; other steps are executed as they are."""

    name = "script"

    def __init__(self, *steps: str | Action | Plan, before: Callable[[int], None] = lambda _: None) -> None:
        self.steps = steps
        self.before = before
        self.screens: list[list[str]] = []
        self.size = (0, 0)

    def forecast(self, states: Any, horizon: int, attempt: int = 0) -> list[Plan]:
        (state,) = states
        self.screens.append([element.text for element in state.elements])
        self.size = (state.width, state.height)
        self.before(len(state.history))
        step = self.steps[len(state.history)]
        if isinstance(step, Plan):
            return [step]
        if isinstance(step, Action):
            return [Plan(text="", forecast=(ForecastStep(action=step, instruction=describe(step)),))]
        element = next(element for element in state.elements if element.text == step)
        x, y = centre(element.box)
        click = Action.of("click", x=x, y=y)
        found = ForecastStep(action=click, instruction=describe(click, element, state.elements))
        return [Plan(text=step, forecast=(found,))]


DONE = Action.of("terminate", status="success")


@pytest.fixture
def act(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(script: Script, answer: bool = True, steps: int = 9, **more: Any) -> tuple[dict[str, Any], list[str]]:
        monkeypatch.setattr(acting.planners, "load", lambda *_: script)
        said: list[str] = []
        asked: list[str] = []

        def ask(question: str) -> bool:
            asked.append(question)
            return answer

        errand = Errand(**{"url": site.url, "goal": "Order it", "agent": "react", "steps": steps, **more})
        row = acting.act(CONFIG, tmp_path, tmp_path / "out", errand, ask, said.append)
        return row, said + asked

    return run


def test_an_order_is_sent_once_somebody_agrees_and_the_trace_is_a_film(act: Any, site: Site, tmp_path: Path) -> None:
    row, said = act(Script("Name", Action.of("type", text="Ann"), "Send", DONE))
    assert (row["reason"], row["steps"], row["calls"]) == (acting.DONE, 4, 4)
    assert site.reached("/order") == ["name=Ann"]
    assert len(said) == 1 and "POST" in said[0] and "name=Ann" in said[0]
    row, _ = act(Script("Second", Action.of("navigate_back"), "Second", Action.of("terminate", status="failure")))
    assert row["reason"].startswith("ended: the agent gives up")
    (reel,) = reels([tmp_path / "out"])
    entries = reel.entries()
    assert [(entry["agent"], entry["task"], entry["turns"]) for entry in entries] == [("react", "127.0.0.1", 4)] * 2
    film = reel.film(0)
    assert film.document["reason"] == acting.DONE and len(film.pictures) >= 3
    assert film.document["turns"][2]["executed"]["text"] == 'click the button "Send"'
    assert cli.main(["view", str(tmp_path / "out"), "--out", str(tmp_path / "page")]) == 0


@pytest.mark.parametrize("way", ["Send", "Quiet"])
def test_what_nobody_agrees_to_is_not_sent(way: str, act: Any, site: Site) -> None:
    row, said = act(Script("Name", Action.of("type", text="Ann"), way, DONE), answer=False)
    assert row["reason"].startswith("impossible: not sent, as you said: 127.0.0.1? POST")
    assert site.reached("/order") == [] and len(said) == 1


def test_other_hosts_are_not_reached_and_this_is_said(act: Any, site: Site) -> None:
    script = Script("Elsewhere", "Leak", "Detour", Action.of("wait"))
    row, said = act(script, steps=4)
    assert row["reason"] == "failed: no end after 4 steps"
    assert {host for host, _, _ in site.asked} == {"127.0.0.1"} and site.reached("/other") == []
    # Once for the link and once for the redirect; an error page may load itself again.
    assert 2 <= sum("blocked: the page wanted to go to 'localhost'" in line for line in said) == len(said) <= 3
    assert "Send" in script.screens[1] and "Send" in script.screens[2]  # the page stayed
    site.asked.clear()
    row, said = act(Script("Elsewhere", DONE), allowed=("local*",))
    assert row["reason"] == acting.DONE and site.reached("/other") == [""] and said == []


def test_there_is_one_tab(act: Any, site: Site) -> None:
    script = Script("Window", Action.of("navigate_back"), "Open", DONE)
    row, said = act(script)
    assert row["reason"] == acting.DONE and "This is /second" in script.screens[1]
    assert len(said) == 1 and "opened another window" in said[0] and "Send" in script.screens[3]


def test_a_page_that_hangs_ends_the_episode(act: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(website, "SECONDS", 20.0)
    row, _ = act(Script("Hang", DONE))
    assert "does not answer within 20 seconds" in row["reason"] and row["steps"] == 1


def kill_pages(turn: int) -> None:
    for process in psutil.Process().children(recursive=True) if turn == 1 else ():
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                process.kill()


def test_a_page_that_crashes_ends_the_episode(act: Any) -> None:
    row, _ = act(Script("Name", "Send", DONE, before=kill_pages))
    assert row["reason"].startswith("impossible: the page at http://127.0.0.1") and row["steps"] == 2
    assert "crash" in row["reason"].lower() or "failed" in row["reason"]


def test_a_page_that_is_not_there_is_said_before_a_planner_is_loaded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting.planners, "load", lambda *_: pytest.fail("it was loaded"))
    for url, why in (
        (f"http://127.0.0.1:{free_port()}/", "ERR_CONNECTION_REFUSED"),
        (f"{site.url}missing", "404"),
        (f"{site.url}redirect", "leads to 'localhost', which does not open .*--allow"),
    ):
        with pytest.raises(NoPage, match=f"^{url} .*{why}"):
            acting.act(
                CONFIG, tmp_path, tmp_path / "out", Errand(url=url, goal="?", agent="react", steps=1), bool, print
            )
    assert not (tmp_path / "out").exists()


def test_the_command_asks_and_takes_no_answer_for_no(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Script("Send", DONE)
    monkeypatch.setattr(acting.planners, "load", lambda *_: given)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (tmp_path / "planner.json").write_text("{}", encoding="utf-8")
    command = ["act", "--model", str(tmp_path), "--url", site.url, "--goal", "Order it", "--agent", "react"]
    command += ["--out", str(tmp_path / "out")]
    assert cli.main(command) == 1
    shown = capsys.readouterr()
    assert "POST" in shown.err and "not sent, as you said" in shown.out and site.reached("/order") == []
    assert cli.main([*command, "--yes", "--size", "400x300"]) == 0
    assert f"{acting.DONE}, after 2 steps and 2 forecasts" in capsys.readouterr().out
    assert site.reached("/order") == ["name="] and given.size == (400, 300)
    given.steps = (Plan(text="fly", forecast=None, error="unknown action: 'fly'"),)
    assert cli.main(command) == 1
    assert ", after 0 steps and " in capsys.readouterr().out


@pytest.mark.parametrize("url", ["file:///etc/passwd", "javascript:1", "shop", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="no address of a web page"):
        WebWorld(url, "?", (), lambda _: True)
    with pytest.raises(ConfigError, match="is no host"):
        WebWorld("http://a/", "?", ("b, EXCLUDE *",), lambda _: True)

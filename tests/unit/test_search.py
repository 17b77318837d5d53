"""Web search against a server that answers as Brave's Search API does, and without a key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from urllib3.util import Retry

from tests.services import free_port, listening
from tests.unit.test_toolbox import at, call, made
from tracer import tools
from tracer.settings import ConfigError
from tracer.tools import search
from tracer.tools.execution import Executors, Outcome
from tracer.tools.search import KEY, WebSearch
from tracer.tools.settings import GroundingConfig

TEA = {
    "type": "search",
    "query": {"original": "tea"},
    "web": {
        "type": "search",
        "results": [
            {"title": "Tea", "url": "https://tea.example/", "description": "A drink.", "language": "en"},
            {"title": "Tea shops", "url": "https://shops.example/tea"},
        ],
    },
}
ANSWERS: dict[str, tuple[int, Any]] = {
    "tea": (200, TEA),
    "nothing at all": (200, {"type": "search", "query": {"original": "nothing at all"}}),
    "refused": (422, {"type": "ErrorResponse", "error": {"code": "VALIDATION"}}),
    "unreadable": (200, {"web": {"results": [{"title": 1}]}}),
    "down": (503, {}),
    "moved": (302, {}),
}


class Brave(BaseHTTPRequestHandler):
    """Knows one key, and is too busy for its first request."""

    asked: list[dict[str, list[str]]]

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        query = parse_qs(place.query)
        self.asked.append(query)
        status, answer = ANSWERS[query["q"][0]]
        if self.headers["X-Subscription-Token"] != "right" or place.path != "/res/v1/web/search":
            status = 401
        elif len(self.asked) == 1:
            status = 429
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Location", f"http://localhost:{self.server.server_address[1]}{self.path}")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def brave(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Brave]]:
    handler = type("Handler", (Brave,), {"asked": []})
    with listening(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        monkeypatch.setattr(search, "ADDRESS", f"http://127.0.0.1:{server.server_port}/res/v1/web/search")
        monkeypatch.setattr(search, "AGAIN", search.AGAIN.new(backoff_factor=0.0))
        monkeypatch.setenv(KEY, "right")
        yield handler


def test_the_pages_that_were_found_are_the_answer(brave: type[Brave]) -> None:
    tool = WebSearch()
    found = "Tea\nhttps://tea.example/\nA drink.\n\nTea shops\nhttps://shops.example/tea\n"
    assert made(tool, query="tea") == made(tool, query="tea") == Outcome(answer=found)
    sent = {"q": ["tea"], "count": ["5"], "text_decorations": ["false"]}
    assert brave.asked == [sent, sent]  # the first was asked to come again, and the second call's answer is kept
    assert made(tool, query="nothing at all") == Outcome(answer="nothing found")
    executors = Executors(["web_search"])
    assert executors.reward(at(call("web_search", query="tea")), call("web_search", query="tea")) == 1.0
    assert executors.reward(at(call("web_search", query="tea")), call("web_search", query="nothing at all")) == 0.0
    ((named),) = tools.identities(GroundingConfig(executors=("web_search",)))["tools"]
    assert named["name"] == "web_search" and named["version"] and len(named["digest"]) == 64


def test_a_refused_query_is_bad_and_a_provider_that_fails_is_no_score(
    brave: type[Brave], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = made(WebSearch(), query="refused")
    assert refused is not None and refused.failed and "refuses this query" in refused.answer
    too_long = made(WebSearch(), query="tea " * 101)
    assert too_long is not None and too_long.failed
    for query, message in (
        ("moved", "has moved to 'http://localhost"),  # where the key would go, too
        ("unreadable", "results.0.title: "),
        ("down", "503 Server Error"),
    ):
        with pytest.raises(ConfigError, match=f"(?s)web search .{KEY}.: .*{message}"):
            made(WebSearch(), query=query)
    assert len(brave.asked) == 2 + 1 + 1 + 4
    monkeypatch.setenv(KEY, "secret-and-wrong")
    with pytest.raises(ConfigError, match="401 Client Error") as raised:
        made(WebSearch(), query="tea")
    assert "secret" not in str(raised.value)
    monkeypatch.setenv(KEY, "a secret\nand another")
    with pytest.raises(ConfigError, match=r"^TRACER_SEARCH_KEY has a line end.*write it again$"):
        made(WebSearch(), query="tea")
    monkeypatch.setenv(KEY, "right")
    assert search.AGAIN.retry_after_max == 60
    monkeypatch.setattr(search, "ADDRESS", f"http://127.0.0.1:{free_port()}/")
    monkeypatch.setattr(search, "AGAIN", Retry(total=0))
    with pytest.raises(ConfigError, match="Connection refused"):
        made(WebSearch(), query="tea")


@pytest.mark.parametrize("key", [None, "", " \n"])
def test_without_a_key_it_is_off_and_a_call_says_why(
    brave: type[Brave], monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.delenv(KEY) if key is None else monkeypatch.setenv(KEY, key)
    outcome = made(WebSearch(), query="tea")
    assert outcome == Outcome(
        answer=f"error: web search is off; put a key of Brave's Search API into {KEY}", failed=True
    )
    asking = call("web_search", query="tea")
    executors = Executors(["web_search", "calculator"])
    assert executors.reward(at(asking), asking) is None  # compared with the reference
    assert executors.counts([at(asking)]) == {"executed": 0, "compared": 1}
    assert [each["name"] for each in executors.identities()] == ["calculator"]
    assert not brave.asked

"""MCP servers as executors, with servers of the official library: over their input and output, and over HTTP."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from tests.services import free_port, serving
from tests.unit.test_toolbox import at, call
from tracer import tools
from tracer.lineage.digest import digest_of
from tracer.settings import ConfigError
from tracer.tools import mcp
from tracer.tools.execution import Executors, Outcome
from tracer.tools.mcp import SERVERS, Mcp
from tracer.tools.settings import GroundingConfig

PROGRAM = """
import os
from mcp.server import MCPServer

server = MCPServer("counter", version="2.1")
calls = []

@server.tool()
def count(stop: bool = False) -> str:
    \"\"\"How often this process was asked.\"\"\"
    if stop:
        os._exit(1)
    calls.append(stop)
    return str(len(calls))

server.run("stdio")
"""


def named(monkeypatch: pytest.MonkeyPatch, folder: Path, **servers: object) -> Mcp:
    """The executor of these servers."""
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    monkeypatch.setenv(SERVERS, str(folder / "mcp.json"))
    return Mcp()


def made(executor: Mcp, name: str, **arguments: object) -> Outcome | None:
    asked = call(name, **arguments)
    return executor.execute(at(asked), asked)


asked: list[str] = []
"""What the shop was asked for, in this process."""


@pytest.fixture(scope="module")
def shop() -> Iterator[dict[str, str]]:
    """A server over HTTP with three tools."""
    server = MCPServer("shop", version="1.4", log_level="CRITICAL")

    @server.tool()
    def price(item: str) -> str:
        """The price of an item."""
        asked.append(item)
        if item == "air":
            raise ToolError("not sold here")
        return f"{item}: {len(item)} euros"

    @server.tool()
    def wait(seconds: float) -> str:
        """Answers late."""
        asked.append("wait")
        time.sleep(seconds)
        return "here"

    @server.tool()
    def offer(items: list[str], most: int = 3) -> list[str]:
        """The first items."""
        return items[:most]

    with serving(server.streamable_http_app()) as address:
        yield {"url": f"{address}/mcp"}


@pytest.fixture
def executor(shop: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mcp:
    asked.clear()
    return named(monkeypatch, tmp_path, shop=shop)


def test_tools_are_listed_with_their_schemas(executor: Mcp) -> None:
    price, wait, offer = executor.schemas
    assert [each["name"] for each in (price, wait, offer)] == ["price", "wait", "offer"]
    assert price["description"] == "The price of an item."
    for each in (price, wait, offer):
        jsonschema.Draft202012Validator.check_schema(each["parameters"])
    jsonschema.validate({"items": ["tea"], "most": 1}, offer["parameters"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"items": "tea"}, offer["parameters"])


def test_a_call_is_made_once_and_its_answer_kept(executor: Mcp) -> None:
    assert made(executor, "price", item="tea") == made(executor, "price", item="tea") == Outcome(answer="tea: 3 euros")
    assert asked == ["tea"]
    assert made(executor, "offer", items=["tea", "milk"], most=1) == Outcome(answer="tea")
    assert made(executor, "cost", item="tea") is None
    refused = made(executor, "price", item="air"), made(executor, "price", thing="tea")
    assert all(outcome is not None and outcome.failed for outcome in refused)
    assert refused[0] is not None and "not sold here" in refused[0].answer


def test_a_token_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, seen = MCPServer("shop", version="1.4", log_level="CRITICAL"), set[bytes]()
    app = server.streamable_http_app()

    async def asks(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.add(dict(scope["headers"]).get(b"authorization", b""))
        await app(scope, receive, send)

    with serving(asks) as address:
        given = {"url": f"{address}/mcp", "headers": {"Authorization": "Bearer ${SHOP_TOKEN}"}}
        executor = named(monkeypatch, tmp_path, shop=given)
        with pytest.raises(ConfigError, match="'shop': the environment does not have the variable 'SHOP_TOKEN'"):
            _ = executor.schemas
        monkeypatch.setenv("SHOP_TOKEN", "abc")
        assert executor.schemas == [] and seen == {b"Bearer abc"}
        monkeypatch.setenv("SHOP_TOKEN", "a secret\nand another")
        with pytest.raises(ConfigError, match="of 'shop': the header Authorization has a line end") as raised:
            _ = named(monkeypatch, tmp_path, shop=given).schemas
        assert "secret" not in str(raised.value)


def test_a_call_is_worth_its_answer(executor: Mcp) -> None:
    executors = Executors(["mcp"])
    assert executors.reward(at(call("price", item="tea")), call("price", item="tea")) == 1.0
    assert executors.reward(at(call("price", item="tea")), call("price", item="coffee")) == 0.0
    assert executors.reward(at(call("price", item="air")), call("price", item="air")) is None  # to be compared


def test_a_tool_is_known_by_its_version_and_what_its_server_says_of_it(executor: Mcp) -> None:
    named = tools.identities(GroundingConfig(executors=("mcp",)))["tools"]
    assert [(each["name"], each["version"]) for each in named] == [
        ("shop/price", "1.4"),
        ("shop/wait", "1.4"),
        ("shop/offer", "1.4"),
    ]
    assert len({each["digest"] for each in named}) == 3
    tool = executor._tools["price"][1]
    assert named[0]["digest"] == digest_of(tool.model_dump(mode="json"))
    assert named[0]["digest"] != digest_of(tool.model_copy(update={"description": "Now in dollars."}).model_dump())


def test_a_call_that_takes_too_long_has_failed_and_its_server_has_not(
    executor: Mcp, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert executor.identities()
    monkeypatch.setattr(mcp, "SECONDS", 0.4)
    late = made(executor, "wait", seconds=0.6)
    assert late is not None and late.failed and late.answer == "error: TimeoutError: no answer within 0.4 seconds"
    assert asked == ["wait", "wait"]
    monkeypatch.setattr(mcp, "SECONDS", 60.0)
    assert made(executor, "wait", seconds=0) == Outcome(answer="here")


def test_a_server_that_is_gone_judges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = MCPServer("brief", log_level="CRITICAL")
    server.tool("leave")(lambda: "bye")
    with serving(server.streamable_http_app()) as address:
        executor = named(monkeypatch, tmp_path, brief={"url": f"{address}/mcp"})
        assert executor.identities()
    with pytest.raises(ConfigError, match="the MCP server 'brief' lists no tools: ConnectError"):
        made(executor, "leave")


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mcp:
    """A server over its input and output."""
    (tmp_path / "counter.py").write_text(PROGRAM, encoding="utf-8")
    env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    server: dict[str, Any] = {"command": sys.executable, "args": [str(tmp_path / "counter.py")], "env": env}
    return named(monkeypatch, tmp_path, counter={**server, "type": "stdio"})


def test_a_server_over_its_input_and_output_is_started_for_each_call(counter: Mcp) -> None:
    assert made(counter, "count") == Outcome(answer="1")
    assert made(counter, "count", stop=False) == Outcome(answer="1")  # another process
    ((found),) = counter.identities()
    assert (found.name, found.version) == ("counter/count", "2.1")


@pytest.mark.slow
def test_a_call_that_ends_its_server_has_failed(counter: Mcp) -> None:
    died = made(counter, "count", stop=True)
    assert died is not None and died.failed and "closed" in died.answer.lower()
    assert made(counter, "count") == Outcome(answer="1")


@pytest.mark.parametrize(
    ("servers", "message"),
    [
        ({"one": "shop", "two": "shop"}, "'one' and 'two' both have a tool 'price'"),
        ({"one": {"command": sys.executable, "args": ["-c", "exit()"]}}, "the MCP server 'one' lists no tools: "),
        ({"one": {"command": "no-such-program"}}, "'one' lists no tools: FileNotFoundError"),
        ({"one": {"url": f"http://127.0.0.1:{free_port()}/mcp"}}, "'one' lists no tools: ConnectError"),
        ({"one": {"commando": "a secret"}}, r"mcp\.json: mcpServers\.one\.commando: Extra inputs are not permitted$"),
        ({"one": {"command": "python", "url": "http://localhost/"}}, "a server has either a command or a url"),
        ({}, r"mcp\.json: mcpServers: .*at least 1 item"),
    ],
)
def test_what_is_wrong_with_the_servers_is_named(
    shop: dict[str, str], servers: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = named(monkeypatch, tmp_path, **{n: shop if each == "shop" else each for n, each in servers.items()})
    with pytest.raises(ConfigError, match=message):
        executor.identities()


def test_without_a_file_or_the_library_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SERVERS, str(tmp_path / "no.json"))
    with pytest.raises(ConfigError, match=f"{SERVERS}: .*no.json"):
        Mcp().identities()
    (tmp_path / "no.json").write_bytes(b"{'mcpServers'")
    with pytest.raises(ConfigError, match=rf"^{SERVERS}: .*no.json: Invalid JSON: [^\n]* line 1 column 2$"):
        Mcp().identities()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -c constraints.txt -e '.\[mcp\]'"):
        Mcp().identities()
    monkeypatch.delenv(SERVERS)
    with pytest.raises(ConfigError, match=f"{SERVERS} names no file"):
        Mcp().identities()

"""MCP servers as executors, with a server that the official library makes and that speaks over its input and output."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tests.unit.test_toolbox import at, call
from tracer import tools
from tracer.action import Action
from tracer.settings import ConfigError
from tracer.tools.execution import Executors, Outcome
from tracer.tools.mcp import SERVERS, Mcp
from tracer.tools.settings import GroundingConfig

SERVER = """
import sys
from mcp.server import MCPServer

server = MCPServer("shop", version="2.1")
calls = []

@server.tool()
def price(item: str) -> str:
    \"\"\"The price of an item.\"\"\"
    calls.append(item)
    if item == "air":
        raise ValueError("not sold here")
    return f"{item}: {len(item)} euros, call {len(calls)}"

server.run("stdio")
"""


def named(monkeypatch: pytest.MonkeyPatch, folder: Path, **servers: object) -> None:
    (folder / "mcp.json").write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    monkeypatch.setenv(SERVERS, str(folder / "mcp.json"))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    (tmp_path / "shop.py").write_text(SERVER, encoding="utf-8")
    env = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    server = {"command": sys.executable, "args": [str(tmp_path / "shop.py")], "env": env}
    named(monkeypatch, tmp_path, shop=server)
    return server


def test_calls_are_run_by_the_server_that_has_the_tool(shop: dict[str, object]) -> None:
    executor = Mcp()

    def made(asked: Action) -> Outcome | None:
        return executor.execute(at(asked), asked)

    assert made(call("price", item="tea")) == Outcome(answer="tea: 3 euros, call 1")
    assert made(call("price", item="coffee")) == Outcome(answer="coffee: 6 euros, call 1")  # a server of its own
    refused = made(call("price", item="air")), made(call("price", thing="tea"))
    assert all(outcome is not None and outcome.failed for outcome in refused)
    assert "not sold here" in refused[0].answer
    assert made(call("cost", item="tea")) is None
    executors = Executors(["mcp"])
    assert executors.reward(at(call("price", item="tea")), call("price", item="tea")) == 1.0
    assert executors.reward(at(call("price", item="tea")), call("price", item="coffee")) == 0.0
    ((found),) = tools.identities(GroundingConfig(executors=("mcp",)))["tools"]
    assert (found["name"], found["version"], len(found["digest"])) == ("shop/price", "2.1", 64)


def test_what_is_wrong_with_the_servers_is_named(
    shop: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named(monkeypatch, tmp_path, shop=shop, other=shop)
    with pytest.raises(ConfigError, match="'shop' and 'other' both have a tool 'price'"):
        Mcp().identities()
    named(monkeypatch, tmp_path, shop={"command": sys.executable, "args": ["-c", "exit()"]})
    with pytest.raises(ConfigError, match="the MCP server 'shop' failed"):
        Mcp().identities()
    named(monkeypatch, tmp_path, shop={"commando": "python"})
    with pytest.raises(ConfigError, match=r"mcp\.json: (?s:.*)commando\n  Extra inputs are not permitted"):
        Mcp().identities()
    monkeypatch.delenv(SERVERS)
    with pytest.raises(ConfigError, match=f"{SERVERS} names no file"):
        Mcp().identities()

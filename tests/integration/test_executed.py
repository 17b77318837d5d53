"""Stage 2 with tools that are executed: its lineage says how many states they judged, and which tools they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mcp.server import MCPServer

from tests.planners import micro_config, write_base
from tests.services import serving
from tracer import json_files
from tracer.action import Action
from tracer.dataset import write_shards
from tracer.tools.mcp import SERVERS
from tracer.training import stage2
from tracer.trajectory import Step, Trajectory


def asking(name: str, /, split: str = "train", **arguments: object) -> Trajectory:
    """One call of a tool, and the end."""
    call = Action.of("tool_call", name=name, arguments=arguments)
    end = Action.of("terminate", status="success")
    steps = (
        Step(action=call, instruction=f"call {name}", observation=f"Tools: {name}"),
        Step(action=end, instruction="stop", observation="done"),
    )
    goal = f"Call {name} with {json.dumps(arguments)}."
    return Trajectory(
        id=f"test/{name}/{split}", source="test", split=split, task=name, goal=goal, steps=steps, outcome="success"
    )


def test_what_was_executed_and_by_which_tools_is_in_the_lineage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = MCPServer("shop", version="1.4", log_level="CRITICAL")
    shop.tool("price")(lambda item: f"{item}: 3 euros")
    train = asking("calculator", expression="6 * 7"), asking("price", item="tea"), asking("search", query="tea")
    write_shards([*train, asking("price", split="validation", item="milk")], tmp_path / "trajectories")
    base = write_base(tmp_path / "base", tmp_path / "trajectories", image=False, steps=0)
    config = micro_config(base, image=False, grounding={"executors": ["calculator", "mcp"]})
    with serving(shop.streamable_http_app()) as address:
        servers = {"mcpServers": {"shop": {"url": f"{address}/mcp"}}}
        (tmp_path / "mcp.json").write_text(json.dumps(servers), encoding="utf-8")
        monkeypatch.setenv(SERVERS, str(tmp_path / "mcp.json"))
        stage2.STAGE.train(config, tmp_path / "trajectories", base, config.out("stage2"))
    lineage = json_files.read_json(config.out("stage2") / "lineage.json")
    counted = {name: lineage["metrics"][name] for name in ("states", "executed", "compared")}
    assert counted == {"states": 6, "executed": 2, "compared": 1}  # half of the states are ends
    named = lineage["config"]["tools"]
    assert [each["name"] for each in named] == ["calculator", "shop/price"]
    assert named[1]["version"] == "1.4" and all(len(each["digest"]) == 64 for each in named)

"""How a planner answers a benchmark's items: one driver a kind of item.

Steps on a screen and GTA's single turns are one forecast each, of which the first step counts. AgentDojo and BFCL are
played: the forecast's first step is executed, what it returned is observed, and the planner forecasts again. GAIA and
GTA end to end need tools behind a network, AndroidWorld and OSWorld their machines: run your agent there and score what
it left with ``tracer score``.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.action import Action
from tracer.benchmarks import agentdojo, bfcl
from tracer.planner.plan import Plan, Planner
from tracer.scoring.contract import BenchmarkError
from tracer.scoring.protocol import BenchmarkProtocol
from tracer.scoring.run import Row, Worker
from tracer.tools.settings import GroundingConfig
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import Element, State

UNPARSABLE: Row = {"action": {}}
"""A prediction without an action: a counted failure."""
OBSERVED = 4000  # characters of a tool's result that the planner is shown


def worker(
    protocol: BenchmarkProtocol, planner: Planner, horizon: int, grounding: GroundingConfig, images: Path | None
) -> Worker:
    """The worker that answers this protocol's items; raises ``BenchmarkError`` where there is none."""
    from tracer import tools

    agent = tools.load(grounding)
    if protocol.benchmark in ("android_control", "gui_odyssey", "mind2web"):
        return lambda items: screens(items, protocol, planner, horizon, agent, images)
    if protocol.benchmark == "gta" and protocol.match["rule"] == "step":
        return lambda items: [gta_turns(item, planner, horizon) for item in items]
    steps = protocol.decoding.max_steps or 20
    if protocol.benchmark == "agentdojo":
        suites = agentdojo.suites(protocol.match["suites"])
        return lambda items: [play_agentdojo(item, suites, planner, horizon, steps) for item in items]
    if protocol.benchmark == "bfcl":
        tasks = {task["id"]: (task, gold) for task, gold in bfcl.tasks()}  # finds the package, too
        return lambda items: [play_bfcl(*tasks[item["id"]], planner, horizon, steps) for item in items]
    raise BenchmarkError(
        f"{protocol.id} has no driver here: run your agent in the benchmark's own runner and score what it left, "
        f"`tracer score {protocol.benchmark} --protocol {protocol.name} --predictions ...`"
    )


def screens(
    items: Sequence[Row],
    protocol: BenchmarkProtocol,
    planner: Planner,
    horizon: int,
    agent: ToolAgent,
    images: Path | None,
) -> list[Row]:
    """One forecast a screen; the first step, grounded by the tool agent, is the prediction."""
    states = [screen_state(item, images) for item in items]
    rows = []
    for state, plan in zip(states, planner.forecast(states, horizon), strict=True):
        action = agent.ground(state, plan.forecast[0]) if plan.forecast else None
        rows.append({"action": action.to_dict()} if action is not None else dict(UNPARSABLE))
    return rows


def screen_state(item: Mapping[str, Any], images: Path | None) -> State:
    """What the planner sees of an item: the goal (and the Low level's step instruction), screenshot, elements."""
    width, height = item.get("width", 0), item.get("height", 0)
    goal = f"{item['goal']}\n{item['instruction']}" if item.get("instruction") else item["goal"]
    return State(
        goal=goal,
        image=_image(item, images),
        width=width,
        height=height,
        elements=tuple(_element(node, width, height) for node in item.get("nodes", [])) or None,
        history=tuple(item.get("history", [])),
    )


def _image(item: Mapping[str, Any], images: Path | None) -> bytes | None:
    if images is None or not item.get("image"):
        return None
    path = (images / item["image"]).resolve()
    if not path.is_relative_to(images.resolve()):
        raise BenchmarkError(f"item {item['id']}: the image {item['image']!r} lies outside {images}")
    return path.read_bytes()


def _element(node: Mapping[str, Any], width: int, height: int) -> Element:
    left, top, right, bottom = node["box"]
    box = tuple(min(1.0, max(0.0, v)) for v in (left / width, top / height, right / width, bottom / height))
    return Element(role="node", text=node["text"] or node["description"], box=(box[0], box[1], box[2], box[3]))


def gta_turns(item: Mapping[str, Any], planner: Planner, horizon: int) -> Row:
    """Every turn of the gold chain, each predicted with the turns before it given."""
    history: list[str] = []
    states = []
    observations = item.get("observations", [])
    for index, turn in enumerate(item["turns"]):
        seen = observations[index - 1] if index else ""
        states.append(State(goal=item["goal"], history=tuple(history), observation=seen))
        if turn.get("tool") is not None:
            history.append(f"call {turn['tool']} with {json.dumps(turn.get('arguments', {}), sort_keys=True)}")
    return {"native": {"turns": [gta_turn(plan) for plan in planner.forecast(states, horizon)]}}


def gta_turn(plan: Plan) -> Row:
    action = plan.forecast[0].action if plan.forecast else None
    if action is not None and action.type == "tool_call":
        return {"tool": action.get("name"), "arguments": action.tool_arguments}
    if action is not None and action.type == "answer":
        return {"answer": action.get("text")}
    return {"error": plan.error or "neither a tool call nor an answer"}


Tool = Callable[[str, Mapping[str, Any]], str]


def converse(
    goal: str, tools_text: str, tool: Tool, planner: Planner, horizon: int, steps: int
) -> tuple[list[Action], str]:
    """Forecast, execute the first step, observe, forecast again, until an answer: the calls made and the answer."""
    calls: list[Action] = []
    history: list[str] = []
    observation = tools_text
    for _ in range(steps):
        state = State(goal=goal, history=tuple(history), observation=observation)
        (plan,) = planner.forecast([state], horizon)
        if not plan.forecast:
            return calls, ""
        step = plan.forecast[0]
        if step.action.type != "tool_call":
            return calls, str(step.action.get("text", ""))
        calls.append(step.action)
        history.append(step.instruction)
        observation = tool(step.action.get("name"), step.action.tool_arguments)[:OBSERVED] + "\n" + tools_text
    return calls, ""


def play_agentdojo(
    item: Mapping[str, Any], suites: Mapping[str, Any], planner: Planner, horizon: int, steps: int
) -> Row:
    """One user task in a fresh environment."""
    runtime_module = importlib.import_module("agentdojo.functions_runtime")
    suite = suites[item["suite"]]
    task = suite.user_tasks[item["task"]]
    environment = task.init_environment(suite.load_and_inject_default_environment({}))
    runtime = runtime_module.FunctionsRuntime(suite.tools)
    described = "Tools: " + "; ".join(f"{tool.name}({', '.join(tool.parameters.model_fields)})" for tool in suite.tools)

    def call(name: str, arguments: Mapping[str, Any]) -> str:
        result, error = runtime.run_function(environment, name, dict(arguments))
        return error or str(result)

    calls, answer = converse(item["goal"], described, call, planner, horizon, steps)
    made = [{"function": action.get("name"), "args": action.tool_arguments} for action in calls]
    return {"native": {"calls": made, "answer": answer}}


def play_bfcl(task: dict[str, Any], gold: Sequence[Any], planner: Planner, horizon: int, steps: int) -> Row:
    """One task, turn by turn, in fresh API objects."""
    apis = [_bfcl_api(name, task) for name in task["involved_classes"]]
    methods = {
        name: method
        for api in apis
        for name, method in inspect.getmembers(api, inspect.ismethod)
        if not name.startswith("_")
    }
    described = "Tools: " + "; ".join(f"{name}{inspect.signature(method)}" for name, method in sorted(methods.items()))

    def call(name: str, arguments: Mapping[str, Any]) -> str:
        text = bfcl_call(name, arguments)
        if bfcl.safe(text) == bfcl.REFUSED or name not in methods:
            return f"error: there is no way to call {text[:200]}"
        try:
            return str(methods[name](**arguments))
        except Exception as error:  # upstream returns whatever the API raises to the model
            return f"Error during execution: {error}"

    native = []
    for turn in task["question"]:
        said = "\n".join(message["content"] for message in turn)
        calls, _ = converse(said, described, call, planner, horizon, steps)
        native.append([[bfcl_call(action.get("name"), action.tool_arguments)] for action in calls])
    return {"native": native[: len(gold)]}


def _bfcl_api(name: str, task: Mapping[str, Any]) -> Any:
    config = importlib.import_module("bfcl_eval.constants.executable_backend_config")
    api = getattr(importlib.import_module(config.CLASS_FILE_PATH_MAPPING[name]), name)()
    if name not in config.STATELESS_CLASSES:
        scenario = json.loads(json.dumps(task["initial_config"].get(name, {})))
        api._load_scenario(scenario, long_context="long_context" in task["id"])
    return api


def bfcl_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A tool call as BFCL writes it: ``cd(folder='document')``."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"

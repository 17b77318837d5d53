"""Planners answering benchmarks: what they are shown, what of their forecasts counts, and tool tasks played through."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.gold import of_agentdojo
from tracer.action import Action
from tracer.benchmarks import agentdojo, bfcl, gta
from tracer.config import Config
from tracer.forecast import ForecastStep
from tracer.planner.plan import Plan, Planner
from tracer.scoring import drivers
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import BenchmarkError, Worker, benchmark_class
from tracer.scoring.evaluate import evaluate
from tracer.scoring.paired import read_summary
from tracer.scoring.protocol import BenchmarkProtocol
from tracer.settings import ConfigError
from tracer.tools import agentdojo as workplaces
from tracer.tools import bfcl as apis
from tracer.tools.own import OwnCoordinates
from tracer.trajectory import State


class Scripted:
    """A planner that answers by a rule and remembers what it saw."""

    name = "scripted"

    def __init__(self, rule: Callable[[State, int], Action | None]) -> None:
        self.rule, self.seen = rule, list[State]()

    def forecast(self, states: Sequence[State], horizon: int, attempt: int = 0) -> list[Plan]:
        plans = []
        for state in states:
            action = self.rule(state, len(self.seen))
            self.seen.append(state)
            step = None if action is None else (ForecastStep(action=action, instruction=f"step {len(self.seen)}"),)
            plans.append(Plan(text="t", forecast=step, error="" if step else "no"))
        return plans


def worker(rules: BenchmarkProtocol, planner: Planner, images: Path | None = None) -> Worker:
    return benchmark_class(rules.benchmark)(rules).worker(planner, 5, OwnCoordinates(), images)


def test_a_screen_is_shown_whole_and_the_first_step_counts(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"png")
    item = {
        "id": "a",
        "goal": "open it",
        "instruction": "click the icon",
        "history": ["one"],
        "image": "a.png",
        "width": 100,
        "height": 200,
        "nodes": [{"box": [0.0, 0.0, 50.0, 100.0], "text": "", "description": "icon"}],
    }
    planner = Scripted(lambda state, n: Action.of("click", x=0.5, y=0.25))
    rules = protocols.load("android_control", "p1-low-7708")
    (row,) = worker(rules, planner, tmp_path)([item])
    assert row == {"action": {"type": "click", "x": 0.5, "y": 0.25}}
    (state,) = planner.seen
    assert (state.goal, state.image, state.history) == ("open it\nclick the icon", b"png", ("one",))
    assert state.elements is not None and state.elements[0].box == (0, 0, 0.5, 0.5)


def test_what_does_not_parse_is_an_unparsable_prediction(tmp_path: Path) -> None:
    planner = Scripted(lambda state, n: None)
    rules = protocols.load("gui_odyssey", "os-atlas")
    (row,) = worker(rules, planner)([{"id": "a", "goal": "g"}])
    assert row == {"action": {}}
    with pytest.raises(BenchmarkError, match="outside"):
        drivers.screen_state({"id": "a", "goal": "g", "image": "../../etc/passwd"}, tmp_path)


def test_gta_turns_are_each_given_the_gold_turns_before() -> None:
    item = {
        "id": "a",
        "goal": "how many?",
        "observations": ["a picture of 12 cats"],
        "turns": [{"tool": "OCR", "arguments": {"image": "x"}}, {"answer": "12"}],
    }

    def rule(state: State, number: int) -> Action:
        if state.observation:
            return Action.of("answer", text="12")
        return Action.of("tool_call", name="OCR", arguments={"image": "x"})

    row = gta.answered_turns(item, Scripted(rule), 5)
    assert row["native"]["turns"] == [{"tool": "OCR", "arguments": {"image": "x"}}, {"answer": "12"}]


def test_agentdojo_is_played_with_observations() -> None:
    pytest.importorskip("agentdojo")
    suites = workplaces.suites("v1.2.2")
    gold = next(row for row in of_agentdojo("v1.2.2") if row["id"] == "workspace/user_task_0")
    wanted = [Action.of("tool_call", name=c["function"], arguments=c["args"]) for c in gold["native"]["calls"]]

    def rule(state: State, number: int) -> Action:
        return wanted[number] if number < len(wanted) else Action.of("answer", text=gold["native"]["answer"])

    planner = Scripted(rule)
    item = {"id": gold["id"], "suite": "workspace", "task": "user_task_0", "goal": "g"}
    row = agentdojo.play(item, suites, planner, 5, 20)
    assert row["native"] == gold["native"]
    assert planner.seen[0].observation.startswith("Tools: ") and "Networking Event" in planner.seen[1].observation
    run = agentdojo.Run.model_validate(row["native"])
    assert agentdojo.utility(suites["workspace"], "user_task_0", run)


def test_bfcl_is_played_turn_by_turn() -> None:
    try:
        task, gold = next(apis.tasks())
    except ConfigError as error:
        pytest.skip(str(error))
    wanted: list[Action] = []
    for turn in gold:
        for call in turn:
            wanted.append(_tool_call(call))
        wanted.append(Action.of("answer", text="done"))
    planner = Scripted(lambda state, number: wanted[number])
    row = bfcl.play(task, gold, planner, 5, 20)
    assert bfcl.check(task, gold, row["native"])
    assert "cd(" in planner.seen[0].observation and "document" in planner.seen[1].observation.partition("Tools:")[0]


def _tool_call(call: str) -> Action:
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    positional = {name: ast.literal_eval(value) for name, value in zip(["file_name"], node.args, strict=False)}
    named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
    return Action.of("tool_call", name=node.func.id, arguments={**positional, **named})


def test_benchmarks_that_need_their_own_machines_say_so() -> None:
    for benchmark, protocol in (("osworld", "verified-50"), ("gaia", "validation"), ("gta", "end-to-end")):
        with pytest.raises(BenchmarkError, match="score what it left"):
            worker(protocols.load(benchmark, protocol), Scripted(lambda s, n: None))


def test_a_real_planner_end_to_end_and_again(tmp_path: Path) -> None:
    from tests.planners import trajectories, write_base  # imports torch, which the other tests do without

    base = write_base(tmp_path / "base", trajectories(tmp_path), image=False, steps=0)
    rows: list[dict[str, Any]] = [
        {
            "id": f"episode_{n}_screenshot_0",
            "episode": n,
            "step": 0,
            "goal": "go",
            "width": 100,
            "height": 100,
            "action": {"action_type": "click", "x": 10, "y": 10},
            "nodes": [{"box": [0.0, 0.0, 20.0, 20.0], "text": "go"}],
        }
        for n in range(5)
    ]
    items = tmp_path / "items.jsonl"
    items.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = Config.model_validate(
        {"profile": "micro", "planner": {"horizon": 2, "image": False, "max_new_tokens": 16}}
    )
    done = evaluate(config, "android_control", "p1-high-7708", str(base), tmp_path / "out", items=items, resamples=20)
    summary = read_summary(tmp_path / "out")
    assert summary["items"]["scored"] == 5 and summary["figures"]["step"]["denominator"] == 5
    assert len(list((tmp_path / "out" / "checkpoints" / "items").iterdir())) == 5
    again = evaluate(config, "android_control", "p1-high-7708", str(base), tmp_path / "out", items=items, resamples=20)
    assert again == done

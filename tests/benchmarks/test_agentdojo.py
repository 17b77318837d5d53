"""AgentDojo's own utility checkers: its solutions pass as upstream, damaged ones do not."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.gold import of_agentdojo
from tracer import json_lines
from tracer.action import Action
from tracer.examples import Example, examples
from tracer.scoring.paired import read_summary
from tracer.scoring.score import score
from tracer.sources import agentdojo as source
from tracer.sources.source import OptionError, SourceError
from tracer.tools import agentdojo as workplaces
from tracer.tools.execution import Executors
from tracer.trajectory import Trajectory

pytest.importorskip("agentdojo")
VERSION = "v1.2.2"


@pytest.fixture(scope="module")
def gold() -> list[dict[str, Any]]:
    return list(of_agentdojo(VERSION))


def run(rows: list[dict[str, Any]], folder: Path) -> dict[str, Any]:
    score("agentdojo", "utility", None, json_lines.write(folder / "p.jsonl", iter(rows)), folder / "out", resamples=10)
    return read_summary(folder / "out")


def failing(folder: Path) -> list[str]:
    lines = (folder / "out" / "results.jsonl").read_text().splitlines()
    return [row["id"] for row in map(json.loads, lines) if row["parts"]["utility"][0] == 0]


@pytest.fixture(scope="module")
def found() -> list[Trajectory]:
    return [each for each in source.read(workplaces.find() / "data/suites") if isinstance(each, Trajectory)]


@pytest.mark.slow
def test_gold_passes_as_upstream_does(gold: list[dict[str, Any]], tmp_path: Path) -> None:
    summary = run(gold, tmp_path)
    assert summary["items"]["scored"] == 97
    assert summary["figures"]["utility"]["numerator"] == upstream_passes()


def upstream_passes() -> int:
    """How many tasks pass when agentdojo itself runs its ground-truth pipeline."""
    from agentdojo.agent_pipeline.ground_truth_pipeline import GroundTruthPipeline

    passed = 0
    for suite in workplaces.suites(VERSION).values():
        for task in suite.user_tasks.values():
            useful, _ = suite.run_task_with_pipeline(GroundTruthPipeline(task), task, None, {})
            passed += bool(useful)
    return passed


# Upstream's checkers of these ask for a transaction that the account holds before anything is done.
IDLE = [
    "banking/user_task_5",
    "banking/user_task_6",
    "banking/user_task_8",
    "banking/user_task_9",
    "banking/user_task_10",
]


def test_runs_without_calls_or_words_fail(gold: list[dict[str, Any]], tmp_path: Path) -> None:
    idle = [{"id": row["id"], "native": {"calls": [], "answer": ""}} for row in gold]
    run(idle, tmp_path)
    lost = failing(tmp_path)
    assert [row["id"] for row in gold if row["id"] not in lost] == IDLE


def test_unknown_tools_and_bad_arguments_change_nothing(gold: list[dict[str, Any]], tmp_path: Path) -> None:
    row = gold[0]
    noisy = {"id": row["id"], "native": {**row["native"]}}
    noisy["native"]["calls"] = [{"function": "no_such_tool", "args": {}}, *row["native"]["calls"]]
    run([noisy, *gold[1:]], tmp_path)
    assert row["id"] not in failing(tmp_path)


def test_every_task_is_a_trajectory_and_a_suite_is_held_out(
    found: list[Trajectory], gold: list[dict[str, Any]], tmp_path: Path
) -> None:
    assert [each.id for each in found] == [f"agentdojo/{row['id']}" for row in gold]
    calls = [[step.action for step in each.steps if step.action.type == "tool_call"] for each in found]
    made = [[{"function": call.get("name"), "args": call.tool_arguments} for call in each] for each in calls]
    assert made == [row["native"]["calls"] for row in gold]
    assert [str(each.steps[-1].action.get("text", "")) for each in found] == [row["native"]["answer"] for row in gold]
    splits = Counter((each.split, each.task) for each in found)
    assert splits == {
        ("train", "agentdojo-workspace"): 32, ("validation", "agentdojo-workspace"): 4,
        ("test", "agentdojo-workspace"): 4,
        ("train", "agentdojo-banking"): 12, ("validation", "agentdojo-banking"): 2, ("test", "agentdojo-banking"): 2,
        ("train", "agentdojo-slack"): 16, ("validation", "agentdojo-slack"): 2, ("test", "agentdojo-slack"): 3,
        ("heldout", "agentdojo-travel"): 20,
    }  # fmt: skip
    with pytest.raises(OptionError, match="heldout is one of workspace"):
        next(source.read(tmp_path, heldout="chess"))
    with pytest.raises(SourceError, match="not the data of the installed package"):
        next(source.read(tmp_path))


# Two questions that change nothing, and have different answers, in each suite.
QUESTIONS = {
    "workspace": [("get_current_day", {}), ("list_files", {})],
    "travel": [("get_user_information", {}), ("get_all_hotels_in_city", {"city": "Paris"})],
    "banking": [("get_iban", {}), ("get_balance", {})],
    "slack": [("get_channels", {}), ("get_users_in_channel", {"channel": "general"})],
}


def test_every_gold_call_is_worth_one_and_another_nothing(found: list[Trajectory]) -> None:
    executors = Executors(["agentdojo"])
    states = list(examples(found, 3))
    worth = Counter(_worth(executors, at) for at in states)
    assert worth == {
        ("tool_call", 1.0, 0.0, 0.0): 339,
        ("answer", None, None, None): 47,
        ("terminate", None, None, None): 50,
    }
    assert executors.counts(states) == {"executed": 339, "compared": 0}
    assert Executors(["agentdojo"]).reward(replace(states[0], trajectory="agentdojo/chess/user_task_0"), None) is None


def _worth(executors: Executors, at: Example) -> tuple[Any, ...]:
    """What the reference is worth at a state, what another question is, and what a tool that is not there."""
    reference = at.reference[0].action
    questions = QUESTIONS[at.task.removeprefix("agentdojo-")]
    name, arguments = next(each for each in questions if each[0] != reference.get("name"))
    other = Action.of("tool_call", name=name, arguments=arguments)
    missing = Action.of("tool_call", name="no_such_tool", arguments={})
    return (reference.type, *(executors.reward(at, each) for each in (reference, other, missing)))


def test_what_is_observed_depends_on_no_clock(found: list[Trajectory]) -> None:
    sent = next(each for each in found if each.id == "agentdojo/workspace/user_task_33")
    assert "2024, 5, 15, 12, 0" in sent.steps[-1].observation
    again = workplaces.Session(workplaces.suites(VERSION)["workspace"], "user_task_33")
    answers = [again.call(*call)[0] for call in again.gold()]
    assert [step.observation.split("\nTools: ")[0] for step in sent.steps[1:]] == [each[:4000] for each in answers]


def test_each_suite_is_named_by_a_digest_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    named = Executors(["agentdojo"]).identities()
    assert [each["name"] for each in named] == [f"agentdojo/{suite}" for suite in workplaces.SUITES]
    assert len({each["digest"] for each in named}) == 4 and {each["version"] for each in named} == {"0.1.35"}
    monkeypatch.setattr(workplaces, "PACKAGE", "agentdojo_that_is_not_there")
    with pytest.raises(ValueError, match="needs the package agentdojo; install the extra `bench`"):
        Executors(["agentdojo"]).identities()

"""BFCL multi-turn through the package's own checker: gold passes, damaged trajectories do not, nothing else is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.gold import of_bfcl
from tracer import json_lines
from tracer.benchmarks import bfcl
from tracer.scoring import protocol as protocols
from tracer.scoring.score import score
from tracer.settings import ConfigError
from tracer.tools import bfcl as apis


@pytest.fixture(scope="module")
def gold() -> list[dict[str, Any]]:
    try:
        return list(of_bfcl())
    except ConfigError as error:
        pytest.skip(str(error))


def test_gold_trajectories_score_800_of_800(gold: list[dict[str, Any]], tmp_path: Path) -> None:
    predictions = json_lines.write(tmp_path / "gold.jsonl", iter(gold))
    score("bfcl", "multi-turn", None, predictions, tmp_path / "out", resamples=10)
    from tracer.scoring.paired import read_summary

    summary = read_summary(tmp_path / "out")
    assert summary["items"] == {**summary["items"], "scored": 800, "expected": 800, "complete": True}
    assert summary["figures"]["accuracy"]["numerator"] == 800
    assert summary["figures"]["accuracy"]["value"] == 1.0
    assert summary["failed"] == {}
    assert {f"family={each}" for each in apis.FAMILIES} == {name for name in summary["groups"] if "family" in name}


def damaged(row: dict[str, Any]) -> dict[str, Any] | None:
    """The trajectory without its last call that changes something: a task cannot be done without it."""
    changing = (
        "cd(",
        "mkdir(",
        "mv(",
        "rm(",
        "touch(",
        "send_message(",
        "post_tweet(",
        "create_ticket(",
        "place_order(",
    )
    turns = [[list(step) for step in turn] for turn in row["native"]]
    for turn in reversed(turns):
        for step in turn:
            for call in reversed(step):
                if call.startswith(changing[1:]):
                    step.remove(call)
                    return {"id": row["id"], "native": turns}
    return None


def test_damaged_trajectories_fail(gold: list[dict[str, Any]]) -> None:
    tasks = {task["id"]: (task, truth) for task, truth in apis.tasks()}
    broken = [row for row in map(damaged, (row for row in gold if "_base_" in row["id"])) if row is not None]
    assert len(broken) >= 50
    passed = [row["id"] for row in broken if bfcl.check(*tasks[row["id"]], row["native"])]
    assert passed == []


def test_an_empty_trajectory_fails_and_turns_have_to_be_all_there(gold: list[dict[str, Any]]) -> None:
    task, truth = next(apis.tasks())
    assert not bfcl.check(task, truth, [[] for _ in truth])
    assert not bfcl.check(task, truth, gold[0]["native"][:-1])
    assert bfcl.check(task, truth, gold[0]["native"])


def test_runs_of_one_task_do_not_see_each_other(gold: list[dict[str, Any]]) -> None:
    task, truth = next(apis.tasks())
    assert [bfcl.check(task, truth, gold[0]["native"]) for _ in range(3)] == [True, True, True]


@pytest.mark.parametrize(
    "call",
    [
        "__import__('os').system('true')",
        "open('/etc/passwd').read()",
        "cd(folder=open('/etc/passwd'))",
        "cd(*['document'])",
        "cd(**{'folder': 'document'})",
        "_load_scenario(scenario={})",
        "cd(folder='document'); mkdir(dir_name='x')",
        "power(base=9, exponent=999999999)",
        "logarithm(value=2, base=10, precision=99999999)",
        "cd(folder=" + "(" * 5000 + ")" * 5000 + ")",
        "cd('" + "x" * 30_000 + "')",
        "",
    ],
)
def test_what_is_no_plain_call_is_never_run(call: str) -> None:
    assert apis.safe(call) == apis.REFUSED


def test_every_gold_call_is_a_plain_call(gold: list[dict[str, Any]]) -> None:
    calls = [call for row in gold for turn in row["native"] for step in turn for call in step]
    assert len(calls) > 4000
    assert [call for call in calls if apis.safe(call) != call.strip()] == []


def test_the_item_list_is_the_packages() -> None:
    try:
        items = list(bfcl.Bfcl(protocols.load("bfcl", "multi-turn")).own_items())
    except ConfigError as error:
        pytest.skip(str(error))
    assert len(items) == 800
    assert {item["category"] for item in items} == set(apis.CATEGORIES)

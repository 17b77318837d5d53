"""AgentDojo's own utility checkers: its solutions pass as upstream, damaged ones do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.gold import of_agentdojo
from tracer import json_lines
from tracer.benchmarks import agentdojo
from tracer.scoring.paired import read_summary
from tracer.scoring.score import score

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


@pytest.mark.slow
def test_gold_passes_as_upstream_does(gold: list[dict[str, Any]], tmp_path: Path) -> None:
    summary = run(gold, tmp_path)
    assert summary["items"]["scored"] == 97
    assert summary["figures"]["utility"]["numerator"] == upstream_passes()


def upstream_passes() -> int:
    """How many tasks pass when agentdojo itself runs its ground-truth pipeline."""
    from agentdojo.agent_pipeline.ground_truth_pipeline import GroundTruthPipeline

    passed = 0
    for suite in agentdojo.suites(VERSION).values():
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

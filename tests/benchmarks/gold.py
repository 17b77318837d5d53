"""The benchmarks' own solutions as predictions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tracer.tools import agentdojo, bfcl


def of_agentdojo(version: str) -> Iterator[dict[str, Any]]:
    """Every task's own solution as a prediction: what its checker should pass."""
    for name, suite in agentdojo.suites(version).items():
        for key, task in suite.user_tasks.items():
            environment = task.init_environment(suite.load_and_inject_default_environment({}))
            calls = [{"function": call.function, "args": dict(call.args)} for call in task.ground_truth(environment)]
            yield {"id": f"{name}/{key}", "native": {"calls": calls, "answer": task.GROUND_TRUTH_OUTPUT}}


def of_bfcl() -> Iterator[dict[str, Any]]:
    """The gold trajectories as predictions: what the checker has to pass."""
    for task, gold in bfcl.tasks():
        yield {"id": task["id"], "native": [[turn] if turn else [] for turn in gold]}

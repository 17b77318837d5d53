"""A second implementation of OSWorld's show_result.py, and cases for every ending of a task."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

RULES = {("osworld", "verified-50", True): "parts"}


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    """The mean over all tasks, and show_result.py's over those that have a result."""
    results = [case["prediction"]["native"]["score"] for case in cases if case[key]["success_finished"][1]]
    return {"success": sum(results) / len(cases), "success_finished": sum(results) / len(results) if results else None}


def cases(rng: random.Random, count: int) -> Iterator[dict]:
    for _ in range(count):
        native = {"score": rng.choice([0.0, 1.0, 0.25, rng.random()]), "steps": rng.choice([1, 15, 50, 51])}
        prediction: dict = {"native": native} if rng.random() < 0.7 else {"error": "no result.txt"}
        ended = "native" in prediction and native["steps"] <= 50
        parts = {"success": [native["score"] if ended else 0.0, 1]}
        parts["success_finished"] = [parts["success"][0], int(ended)]
        yield {"item": {"domain": "os", "infeasible": False}, "prediction": prediction, "parts": parts}

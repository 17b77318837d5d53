"""A second implementation of AndroidWorld's summary, and cases for every ending of an episode."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

RULES = {("android_world", "run-py", True): "parts"}


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    """The mean over templates; run.py leaves out what crashed, and templates of which everything did."""
    ended: dict[str, list[float]] = {}
    every: dict[str, list[float]] = {}
    for case in cases:
        template, native = case["item"]["template"], case["prediction"].get("native")
        score = native["score"] if native and native["done"] else 0.0
        every.setdefault(template, []).append(score)
        if native:
            ended.setdefault(template, []).append(score)
    means = [[sum(scores) / len(scores) for scores in side.values()] for side in (every, ended)]
    whole, finished = (sum(side) / len(side) if side else None for side in means)
    return {"success": whole, "success_finished": finished}


def cases(rng: random.Random, count: int) -> Iterator[dict]:
    for number in range(count):
        item = {"template": f"T{number // rng.choice([1, 2, 3])}", "instance": number, "difficulty": "easy"}
        native = {"score": rng.choice([0.0, 1.0, 1.0, 0.5]), "done": rng.random() < 0.8, "steps": rng.randint(0, 40)}
        prediction: dict = {"native": native} if rng.random() < 0.7 else {"error": "adb is gone"}
        score = native["score"] if native["done"] and "native" in prediction else 0.0
        parts = {"success": [score, 1], "success_finished": [score, int("native" in prediction)]}
        yield {"item": item, "prediction": prediction, "parts": parts}

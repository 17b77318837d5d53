"""Second implementations of UGround's and MindAct's Mind2Web scripts, and cases for every branch of them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

RULES = {("mind2web", "coordinate-task", True): "uground", ("mind2web", "candidate-task", True): "mindact"}
MARKS = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def f1(ours: str, gold: str) -> float:
    a, b = set(ours.split()), set(gold.split())
    return overlap(a, b)


def overlap(a: set[str], b: set[str]) -> float:
    if not a or not b:
        return float(not a and not b)
    both = len(a & b)
    precision, recall = both / len(a), both / len(b)
    return 2 * precision * recall / (precision + recall) if both else 0.0


def uground(item: dict, ours: dict) -> dict[str, list[float]]:
    said = ours["op"].lower() if ours["value"].lower() == "none" else f"{ours['op']} {ours['value']}".lower()
    gold = f"{item['op']} {item['value']}".lower()
    score = overlap(*({word for word in side.split() if word not in MARKS} for side in (said, gold)))
    x, y = ours["point"]
    element = any(b[0] <= x <= b[0] + b[2] and b[1] <= y <= b[1] + b[3] for b in item["boxes"])
    return {"element": [int(element), 1], "operation_f1": [score, 1], "step": [int(element and score == 1), 1]}


def mindact(item: dict, ours: dict) -> dict[str, list[float]]:
    if not item["in_top"] or ours["element"] is None:
        return {"element": [0, 1], "operation_f1": [0, 1], "step": [0, 1]}
    op = ours["op"] if ours["op"] in ("CLICK", "SELECT", "TYPE") else ""
    gold = item["op"] if item["op"] == "CLICK" else f"{item['op']} {item['value']}"
    score = f1(f"{op} {ours['value']}", gold)
    element = ours["element"] in item["positives"]
    return {"element": [int(element), 1], "operation_f1": [score, 1], "step": [int(element and score == 1), 1]}


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    """Macro and micro figures of a file; UGround fills up the steps that a task lacks with zeros."""
    found: dict[str, float | None] = {}
    for name in ("element", "operation_f1", "step"):
        tasks: dict[str, list[float]] = {}
        for case in cases:
            tasks.setdefault(case["item"]["task"], []).append(case[key][name][0])
        if key == "uground":
            for case in cases:
                scores = tasks[case["item"]["task"]]
                scores += [0.0] * (case["item"]["total_steps"] - len(scores))
        every = [score for scores in tasks.values() for score in scores]
        found[name] = sum(sum(scores) / len(scores) for scores in tasks.values()) / len(tasks)
        found[f"{name}_micro"] = sum(every) / len(every)
    return found


def cases(rng: random.Random, count: int) -> Iterator[dict]:
    values = ["", "new york", "New York", "A.B", "a.b", "None", "none", "5 . 6", "new york city", "(x) !", "type"]
    lengths: dict[int, int] = {}
    for number in range(count):
        task = number // 4
        box = [
            float(rng.randrange(1200)),
            float(rng.randrange(3000)),
            float(rng.randrange(90)),
            float(rng.randrange(40)),
        ]
        item = {
            "task": f"t{task}", "split": "test_task", "goal": "?", "step": number % 4, "image": "p.png",
            "total_steps": lengths.setdefault(task, rng.choice([1, 4, 4, 5, 9])), "width": 1280, "height": 3040,
            "op": rng.choice(["CLICK", "TYPE", "SELECT"]), "value": rng.choice(values), "positives": ["7", "8"],
            "boxes": [box, [5.0, 5.0, 20.0, 20.0]][: rng.randint(0, 2)], "in_top": rng.random() < 0.9,
        }  # fmt: skip
        point = [box[0] + rng.choice([0, 1, box[2], box[2] + 1]), box[1] + rng.choice([0, box[3], -1])]
        ours = {
            "op": rng.choice([item["op"]] * 4 + ["CLICK", "TYPE", "click", "Type", "HOVER", ""]),
            "value": rng.choice([item["value"]] * 4 + values), "point": rng.choice([point, point, [10.0, 10.0]]),
            "element": rng.choice(["7", "8", "9", None]),
        }  # fmt: skip
        results = {"uground": uground(item, ours), "mindact": mindact(item, ours)}
        yield {"item": item, "prediction": {"native": ours}, **results}

"""A second implementation of UGround's AndroidControl script (P4), and cases for every branch of it.

A click of another kind, open_app or navigate_back carries the grounding model's answer as x and y.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.benchmarks.second.items import HEIGHT, WIDTH, step

RULES = {("android_control", "p4-high", True): "parts"}
WORDS = ["Clock", "Navigate back", "BACK", "Google Chrome", "tick", ""]


def under(nodes: list[dict], x: float, y: float) -> dict | None:
    """The smallest element at a point."""
    best, least = None, float("inf")
    for node in nodes:
        left, top, right, bottom = node["box"]
        area = (right - left) * (bottom - top)
        if left <= x <= right and top <= y <= bottom and area < least:
            best, least = node, area
    return best


def says(node: dict | None, word: str) -> bool:
    return node is not None and any(
        said and word.lower() in said.lower() for said in (node["text"], node["description"])
    )


def judge(nodes: list[dict], gold: dict, ours: dict) -> dict[str, list[int]]:
    right = grounding = hit = 0
    did, kind = ours["action_type"], gold["action_type"]
    if did in ("click", "long_press", "type_text") and did == kind:
        grounding = 1
        node = under(nodes, gold["x"], gold["y"])
        if node and node["box"][0] <= ours["x"] <= node["box"][2] and node["box"][1] <= ours["y"] <= node["box"][3]:
            right = hit = int(kind != "type_text" or gold["text"] == ours.get("text"))
    elif all(ours.get(name) == value for name, value in gold.items()):
        right = 1
    if did == "click" and kind == "open_app":
        grounding = 1
        right = hit = int(says(under(nodes, ours["x"], ours["y"]), gold["app_name"]))
    if did == "open_app" and kind == "click":  # the named deviation: the predicted app's name
        right = int(bool(ours["app_name"]) and says(under(nodes, ours["x"], ours["y"]), ours["app_name"]))
    if {did, kind} == {"click", "navigate_back"}:
        grounding = 1
        right = hit = int(says(under(nodes, ours["x"], ours["y"]), "back"))
    return {"step": [right, 1], "grounding": [hit, grounding]}


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    hits, counted = (sum(case[key]["grounding"][index] for case in cases) for index in (0, 1))
    return {
        "step": sum(case[key]["step"][0] for case in cases) / len(cases),
        "grounding": hits / counted if counted else None,
    }


def action(rng: random.Random, kind: str) -> dict:
    return {"action_type": kind} | {
        "click": {"x": rng.randrange(WIDTH), "y": rng.randrange(HEIGHT)},
        "long_press": {"x": rng.randrange(WIDTH), "y": rng.randrange(HEIGHT)},
        "type_text": {"x": rng.randrange(WIDTH), "y": rng.randrange(HEIGHT), "text": rng.choice(["Oslo", "oslo"])},
        "scroll": {"direction": rng.choice(["up", "down"])},
        "open_app": {"app_name": rng.choice(["clock", "Chrome"])},
        "status": {"goal_status": rng.choice(["successful", "infeasible"])},
    }.get(kind, {})  # fmt: skip


def cases(rng: random.Random, count: int) -> Iterator[dict]:
    kinds = [
        "click",
        "click",
        "long_press",
        "type_text",
        "scroll",
        "open_app",
        "status",
        "navigate_back",
        "navigate_home",
    ]
    for number in range(count):
        nodes = [{"box": [0.0, 0.0, 1080.0, 2400.0], "text": "", "description": rng.choice(WORDS)}]
        for _ in range(rng.randint(0, 6)):
            left, top = rng.randrange(900), rng.randrange(2000)
            box = [float(left), float(top), left + rng.choice([80.0, 300.0, 800.0]), top + rng.choice([60.0, 900.0])]
            nodes.append({"box": box, "text": rng.choice(WORDS), "description": rng.choice(WORDS)})
        if rng.random() < 0.1:
            nodes = nodes[1:]
        gold = action(rng, rng.choice([*kinds, "wait"]))
        ours = dict(gold) if rng.random() < 0.6 else action(rng, rng.choice(kinds))
        near = {"x": gold.get("x", 500) + rng.choice([0, 30, -200]), "y": gold.get("y", 500) + rng.choice([0, 30, 400])}
        if ours["action_type"] in ("click", "long_press", "type_text", "open_app", "navigate_back"):
            ours |= near
        if ours["action_type"] == "open_app":
            ours["app_name"] = rng.choice(["clock", "Chrome", "Clock", ""])
        if ours["action_type"] == "type_text" and rng.random() < 0.3:
            ours["text"] = rng.choice(["Oslo", "oslo", ""])
        item = step(number, gold, nodes=nodes)
        # A pressed place is a grounding model's; a recorded action without a place needs no more than its keys.
        yield {"item": item, "prediction": {"native": ours}, "parts": judge(nodes, gold, ours)}

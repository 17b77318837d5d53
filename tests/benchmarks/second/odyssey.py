"""A second implementation of GUI-Odyssey's official script, and cases for every branch of it."""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy

RULES = {
    ("gui_odyssey", "official-pooled", True): "strict",
    ("gui_odyssey", "official-pooled", False): "original",
    ("gui_odyssey", "official-random", False): "original",
}
KEYS = {"KEY_HOME": "PRESS_HOME", "KEY_BACK": "PRESS_BACK", "KEY_APPSELECT": "PRESS_RECENT"}
PRESSED = ("CLICK", "LONG_PRESS")


def decoded(item: dict) -> str:
    """The step as the converter writes it."""
    action, info = item["action"], item["info"]
    if action in PRESSED:
        return KEYS[info] if isinstance(info, str) else f"{action}: {tuple(info[0])}"
    if action == "SCROLL":
        (x1, y1), (x2, y2) = info
        sideways, upright = ("LEFT" if x2 < x1 else "RIGHT"), ("UP" if y2 < y1 else "DOWN")
        return f"SCROLL: {sideways if abs(x2 - x1) > abs(y2 - y1) else upright}"
    return {"TEXT": f"TYPE: {info}", "COMPLETE": "COMPLETE", "INCOMPLETE": "IMPOSSIBLE"}[action]


def edits(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, start=1):
        corner, row[0] = row[0], i
        for j, right in enumerate(b, start=1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (left != right))
    return row[-1]


def clicked(place: Any, gold: Any, box: list | None) -> bool:
    """Whether the script takes a place; raises whatever it would."""
    if isinstance(place, str):
        place = ast.literal_eval(place.strip())
    if box is not None and box[0] <= place[0] <= box[2] and box[1] <= place[1] <= box[3]:
        return True
    return bool(numpy.linalg.norm(numpy.array(place) / 1000 - numpy.array(gold) / 1000) <= 0.14)


def judge(ours: str, item: dict, strict: bool) -> tuple[bool, bool, str]:
    """(same action, right, branch)."""
    reference = decoded(item)
    wanted, _, gold_info = reference.partition(":")
    gold_info = gold_info.split(":")[0].strip()
    pieces = ours.split(":")
    kind, info = pieces[0].strip(), pieces[1].strip() if len(pieces) > 1 else ""
    place: Any = info
    if kind in PRESSED and len(pieces) > 1:
        try:
            place = ast.literal_eval(info)
        except (ValueError, SyntaxError, TypeError):
            return True, False, "unreadable, whatever the step's action"
    if kind != wanted:
        return False, False, "another action"
    if kind == "TYPE":
        if not info and gold_info:
            return True, not strict, "text: empty"
        if gold_info in info or info in gold_info:
            cut = reference.count(":") > 1 or ours.count(":") > 1
            return True, True, "text: equal up to a colon" if cut else "text: contained"
        close = 1 - edits(info, gold_info) / max(len(info), len(gold_info))
        return True, close >= 0.5, "text: similar" if close >= 0.5 else "text: other"
    if kind == "SCROLL":
        right = info.upper() == gold_info.upper()
        return True, right, "scroll: same" if right else "scroll: other"
    if kind not in PRESSED:
        return True, True, "by type alone"
    box = item.get("box")
    try:
        right = clicked(place, item["info"][0], box)
    except (ValueError, SyntaxError, TypeError, IndexError):
        return True, False, "point: of another shape"
    return True, right, f"point: {'right' if right else 'wrong'}, {'with' if box else 'without'} a box"


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    """AMS and SR of a file, over everything or as the mean over categories; SR is 0 without a whole episode."""
    groups: dict[str, list[dict]] = {}
    for case in cases:
        groups.setdefault(case["item"]["category"] if protocol == "official-random" else "", []).append(case)
    steps, rates = [], []
    for group in groups.values():
        steps.append(sum(case[key]["step"][0] for case in group) / len(group))
        episodes: dict[str, list[int]] = {}
        for case in group:
            episodes.setdefault(case["item"]["episode"], []).append(case[key]["step"][0])
        length = {case["item"]["episode"]: case["item"]["step_length"] for case in group}
        whole = [all(found) for name, found in episodes.items() if len(found) == length[name]]
        rates.append(sum(whole) / len(whole) if whole else 0.0)
    return {"step": sum(steps) / len(steps), "success": sum(rates) / len(rates)}


TEXTS = ["Fold mountains", "best laptops 2024", "hello", "10:30 meeting", "Zürich weather", "x", "KEY_HOME"]
EXACT = [(140, 0), (0, 140), (84, 112), (112, 84), (-84, -112), (98, 100), (99, 99), (-140, 0), (141, 0), (30, 40)]


def pressed(rng: random.Random, action: str, x: int, y: int) -> str:
    """A press near a point, in every shape in which a model may write it."""
    dx, dy = rng.choice([*EXACT, (350, 20), (-300, 5), (0, 0)])
    a, b = x + dx, y + dy
    shape = rng.choice(
        ["({}, {})"] * 8
        + ["[{}, {}]", "[[{}, {}]]", "(({}, {}),)", "'({}, {})'", "('{}', '{}')", "{}, {}", "({}, {}, 7)", "({},)",
           "{}", "({}.0, {}.5)", "(x, {})", "", "({}, {}", "{{'x': {}, 'y': {}}}", "None", "\"'({}, {})'\"",
           "[[{0}, {1}], [{0}, {1}]]"]
    )  # fmt: skip
    return f"{action}: {shape.format(a, b)}"


def cases(rng: random.Random, count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        action = rng.choice(["CLICK", "CLICK", "LONG_PRESS", "SCROLL", "TEXT", "TEXT", "KEY", "COMPLETE", "INCOMPLETE"])
        item: dict = {"action": action, "info": ""}
        if action in PRESSED:
            x, y = rng.randint(0, 1000), rng.randint(0, 1000)
            item["info"] = [[x, y]] * rng.randint(1, 2)
            if rng.random() < 0.5:
                wide, tall = rng.randint(5, 400), rng.randint(5, 60)
                item["box"] = [x - wide, y - tall, x + wide, y + tall]
            ours = rng.choice([pressed(rng, action, x, y)] * 9 + [action])
        elif action == "SCROLL":
            start = [rng.randint(200, 800), rng.randint(200, 800)]
            step = rng.choice([[0, -300], [0, 250], [-200, 10], [180, 20], [150, 150], [-90, -90], [0, 0]])
            item["info"] = [start, [start[0] + step[0], start[1] + step[1]]]
            ours = f"SCROLL: {rng.choice(['UP', 'DOWN', 'LEFT', 'RIGHT', 'up', 'Down'])}"
        elif action == "TEXT":
            item["info"] = text = rng.choice(TEXTS)
            typo = "".join(letter if rng.random() < 0.75 else "q" for letter in text)
            half = text[: len(text) // 2]
            ours = f"TYPE: {rng.choice([text, f'{text} now', half, typo, typo[::-1], '', 'zzzz', f'{text}: more'])}"
        elif action == "KEY":
            item["action"] = rng.choice(PRESSED)
            item["info"] = rng.choice([*KEYS])
            ours = rng.choice(["PRESS_HOME", "PRESS_BACK", "PRESS_RECENT", "PRESS_HOME: now"])
        else:
            ours = rng.choice(["COMPLETE", "IMPOSSIBLE", "COMPLETE "])
        if rng.random() < 0.1:
            ours = rng.choice(
                ["CLICK: (500, 500)", "SCROLL: UP", "PRESS_BACK", "nonsense", "complete", "CLICK: garbage", ""]
            )
        if rng.random() < 0.3:
            ours = decoded(item)
        # Episodes of three steps, of which some have a fourth that is no item; one category has none that is whole.
        episode, group = number // 3, number // 12 % 6
        whole = episode % 4 > 1 and group
        place = {"episode": f"e{episode}", "step": number % 3, "step_length": 3 if whole else 4}
        strict, original = judge(ours, item, strict=True), judge(ours, item, strict=False)
        yield {
            "branch": strict[2],
            "item": {**place, "category": f"category {group}", "goal": "?", **item},
            "prediction": {"native": ours},
            "strict": {"type": [int(strict[0]), 1], "step": [int(strict[1]), 1]},
            "original": {"type": [int(original[0]), 1], "step": [int(original[1]), 1]},
        }

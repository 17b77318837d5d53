"""A second implementation of GUI-R1's inference and evaluation scripts (P2), and cases for every branch of them."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Sequence

from tests.benchmarks.second.items import HEIGHT, WIDTH, step

RULES = {("android_control", "p2-high", True): "strict", ("android_control", "p2-high", False): "original"}
RESIZED = [532, 1204]
POINTED, WORDED = ("click", "long_press"), ("open_app", "type", "scroll")


def heard(text: str) -> tuple[str | None, list[int], str]:
    """(action, coordinate or [], text) that the inference script finds in an output."""
    answer = re.search("<answer>(.*?)</answer>", text, re.DOTALL)
    if answer is None:
        return None, [], "no input text"
    inside = answer[1].strip()
    action = re.search(r"'action':\s*'(\w+)'", inside)
    point = re.search(r"\{.*\[(\d+),\s*(\d+)\]\s*.*\}", inside)
    said = re.search(r"'input_text':\s*'(.*?)'", inside)
    place = [int(point[1]), int(point[2])] if point else []
    return action[1] if action else None, place, said[1] if said else "no input text"


def alike(ours: str, gold: str) -> bool:
    a, b = ({word for word in side.replace("[", "").replace("]", "").lower().split()} for side in (ours, gold))
    if len(a) == 1 and len(b) == 1:
        (one,), (two,) = a, b
        if one in two or two in one:
            return True
    shared = len(a & b)
    if not shared:
        return False
    precision, recall = shared / len(a), shared / len(b)
    return 2 * (precision * recall) / (precision + recall) >= 0.5


def judge(gold: dict, prediction: dict, strict: bool) -> dict[str, list[int]]:
    if "native" in prediction:
        native = prediction["native"]
        action, said = native.get("action"), native.get("input_text")
        said = said if isinstance(said, str) else "no input text"
        place = native.get("point") or []
        scale = (1.0, 1.0)
    else:
        action, place, said = heard(prediction["text"])
        scale = (WIDTH / RESIZED[0], HEIGHT / RESIZED[1])
    kind = {"input_text": "type", "navigate_back": "press_back"}.get(gold["action_type"], gold["action_type"])
    near = worded = False
    if kind in POINTED and (place or not strict):
        x, y = (place[0] * scale[0], place[1] * scale[1]) if place else (0, 0)
        near = ((gold["x"] - x) / WIDTH) ** 2 + ((gold["y"] - y) / HEIGHT) ** 2 < 0.14**2
    if kind in WORDED:
        worded = alike(gold.get("text") or gold.get("app_name") or gold.get("direction") or "", said)
    return {
        "type": [int(action == kind), 1],
        "grounding": [int(near), int(kind in POINTED)],
        "step": [int(near or worded), int(kind in POINTED or kind in WORDED)],
    }


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    """The evaluation script's figures of a file: an action without a hit is in no denominator."""
    sums: dict[tuple[str, str], list[int]] = {}
    for case in cases:
        for name, (hit, counted) in case[key].items():
            row = sums.setdefault((name, case["item"]["action"]["action_type"]), [0, 0])
            row[0] += hit
            row[1] += counted
    found = {}
    for name in ("type", "grounding", "step"):
        rows = [row for (metric, _), row in sums.items() if metric == name and row[0]]
        found[name] = sum(row[0] for row in rows) / sum(row[1] for row in rows) if rows else None
    return found


def recorded(rng: random.Random) -> dict:
    kind = rng.choice(["click", "click", "long_press", "scroll", "open_app", "input_text", "navigate_back", "wait"])
    more = {
        "click": {"x": rng.randrange(WIDTH), "y": rng.randrange(HEIGHT)},
        "long_press": {"x": rng.randrange(300), "y": rng.randrange(500)},
        "scroll": {"direction": rng.choice(["up", "down", "left", "right"])},
        "open_app": {"app_name": rng.choice(["Clock", "Google Chrome", "no"])},
        "input_text": {"text": rng.choice(["hello world", "input", "it's", "red [old] shoes", "no input"])},
    }
    return {"action_type": kind, **more.get(kind, {})}


def spoken(rng: random.Random, answer: dict) -> str:
    """An answer as a model may write it, from well formed to hardly an answer."""
    plain = str([answer])
    first = "{'action': 'click', 'point': [7, 9], 'input_text': 'x'}"
    broken = plain.replace("}", "\n}") if rng.random() < 0.5 else plain.replace("'point'", "\n'point'")
    body = rng.choice(
        [plain, plain, plain, plain[1:-1], json.dumps([answer]), plain.replace(", ", ",\n"), broken,
         f"[{first}, {answer}]", f"{first}\n{answer}",
         plain.replace("[", "(").replace("]", ")"), plain.replace(": ", ":  "), plain[:-9], "",
         plain.replace("'point': [", "'point': [["), plain.replace("{", ""), f"{answer['action']} at {answer['point']}"]
    )  # fmt: skip
    return rng.choice(
        [f"<think>a [1, 2]</think><answer>{body}</answer>"] * 6
        + [body, f"<answer>{body}", f"<answer>{body}</answer><answer>{first}</answer>", f"<answer>\n{body} </answer>"]
    )


def cases(rng: random.Random, count: int) -> Iterator[dict]:
    for number in range(count):
        gold = recorded(rng)
        size = (WIDTH, HEIGHT) if rng.random() < 0.4 else tuple(RESIZED)
        x, y = gold.get("x", 500) * size[0] / WIDTH, gold.get("y", 800) * size[1] / HEIGHT
        off = [rng.choice([0, 0, 30, 74, 75, 150, 151, 152, -400]), rng.choice([0, 0, 100, 168, 336, -200])]
        point = [max(0, round(x) + off[0]), max(0, round(y) + off[1])]
        kind = {"input_text": "type", "navigate_back": "press_back"}.get(gold["action_type"], gold["action_type"])
        words = gold.get("text") or gold.get("app_name") or gold.get("direction") or "no input text"
        said = rng.choice(
            [words, words, words.upper(), f"{words} too", words[:-1], "other", "no input text", "", "a b c"]
        )
        answer = {"action": rng.choice([kind, kind, kind, "click", "wait"]), "point": point, "input_text": said}
        if size == (WIDTH, HEIGHT):
            if rng.random() < 0.2:
                answer["point"] = rng.choice([[], None, [-100, -100], [*point, 3, 4]])
            if rng.random() < 0.2:
                answer["input_text"] = None
            for name in ("point", "input_text"):
                if rng.random() < 0.1:
                    del answer[name]
            prediction: dict = {"native": answer}
        else:
            prediction = {"text": spoken(rng, answer), "convention": "gui-r1", "resized": RESIZED}
        item = step(number, gold)
        strict, original = judge(gold, prediction, True), judge(gold, prediction, False)
        yield {"item": item, "prediction": prediction, "strict": strict, "original": original}

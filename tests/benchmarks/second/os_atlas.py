"""A second implementation of OS-Atlas's AndroidControl script (P1), and cases for every branch of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.benchmarks.second.items import HEIGHT, WIDTH, step

RULES = {("android_control", "p1-high-7708", True): "parts"}


def wanted_line(action: dict) -> str:
    kind = action["action_type"]
    if kind in ("click", "long_press"):
        x, y = round(1000 * action["x"] / WIDTH), round(1000 * action["y"] / HEIGHT)
        return f"{'CLICK' if kind == 'click' else 'LONG_PRESS'} <point>[[{x},{y}]]</point>"
    if kind == "scroll":
        return f"SCROLL [{action['direction'].upper()}]"
    if kind == "open_app":
        return f"OPEN_APP [{action['app_name']}]"
    if kind == "input_text":
        return f"TYPE [{action['text']}]"
    return {"navigate_back": "PRESS_BACK", "navigate_home": "PRESS_HOME", "wait": "WAIT"}[kind]


def numbers(line: str) -> list[int]:
    found, run = [], ""
    for letter in f"{line} ":
        if letter in "0123456789":
            run += letter
        elif run:
            found.append(int(run))
            run = ""
    return found


def peeled(line: str) -> str:
    """The line without any of the characters of ``<|im_end|>`` at its ends; a blank protects what is before it."""
    while line[:1] and line[0] in "<|im_end|>":
        line = line[1:]
    while line[-1:] and line[-1] in "<|im_end|>":
        line = line[:-1]
    return line


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    sums = {name: [sum(case[key][name][at] for case in cases) for at in (0, 1)] for name in cases[0][key]}
    return {name: hits / counted if counted else None for name, (hits, counted) in sums.items()}


def judge(ours: str, action: dict) -> tuple[bool, bool, str]:
    """(same type, right, branch)."""
    reference = wanted_line(action)
    words, wanted = ours.split(), reference.split()
    kind = wanted[0]
    if words[:1] != [kind]:
        return False, False, "another type"
    if kind in ("CLICK", "LONG_PRESS"):
        found, gold = numbers(ours), numbers(reference)
        if len(found) < 2:
            return True, False, "point: too few numbers"
        near = (found[0] - gold[0]) ** 2 + (found[1] - gold[1]) ** 2 <= 140 * 140
        return True, near, f"{kind}: {'near' if near else 'far'}"
    if kind in ("TYPE", "OPEN_APP"):
        if ours == reference:
            return True, True, f"{kind}: the same line"
        if len(words) < 2:
            return True, False, "text: no word"
        first = words[1].lower() == wanted[1].lower()
        return True, first, f"{kind}: {'the same first word' if first else 'another first word'}"
    return True, ours == reference, "other: the same line" if ours == reference else "other: another line"


TEXTS = ["hello world", "hello", "Natalie Larson", "cheap flights to Oslo", "5"]
APPS = ["PocketBook", "Google Chrome", "Clock", "The Weather Channel"]


def cases(rng: random.Random, count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        kind = rng.choice(
            [
                "click",
                "click",
                "long_press",
                "scroll",
                "input_text",
                "open_app",
                "navigate_back",
                "navigate_home",
                "wait",
            ]
        )
        action: dict = {"action_type": kind}
        if kind in ("click", "long_press"):
            action |= {"x": rng.randrange(WIDTH), "y": rng.randrange(HEIGHT)}
            x, y = round(1000 * action["x"] / WIDTH), round(1000 * action["y"] / HEIGHT)
            dx, dy = rng.choice([0, 98, 99, 139, 140, 141, -84, 300]), rng.choice([0, 0, 99, 100, 112, -60, 1])
            name = kind.upper()
            point = f"{name} <point>[[{max(0, x + dx)},{max(0, y + dy)}]]</point>"
            ours = rng.choice([point] * 6 + [name, f"{name} <point>[[{x}]]</point>", f"{name} [{x}, {y}, 7]"])
        elif kind == "scroll":
            action["direction"] = rng.choice(["up", "down", "left", "right"])
            ours = f"SCROLL [{rng.choice(['UP', 'DOWN', 'LEFT', 'RIGHT', 'down'])}]"
        elif kind == "input_text":
            action["text"] = text = rng.choice(TEXTS)
            variants = [text, text.upper(), text.split()[0], f"{text} again", f"oh {text}", "x"]
            ours = rng.choice([f"TYPE [{rng.choice(variants)}]"] * 6 + ["TYPE", f"TYPE {text}"])
        elif kind == "open_app":
            action["app_name"] = app = rng.choice(APPS)
            variants = [app, app.lower(), f"{app} Beta", app.split()[-1], app.split()[0]]
            ours = rng.choice([f"OPEN_APP [{rng.choice(variants)}]"] * 6 + ["OPEN_APP"])
        else:
            ours = rng.choice(["PRESS_BACK", "PRESS_HOME", "WAIT", "WAIT 5", "PRESS_BACK [twice]", "COMPLETE"])
        if rng.random() < 0.06:
            ours = rng.choice(["CLICK <point>[[500,500]]</point>", "COMPLETE", "click [[1,2]]", "WAIT"])
        ours = rng.choice([ours] * 8 + [f"{ours} ", f" {ours}", f"m{ours}", f"{ours}<|im_end|>", f"{ours}<|im_end|>\n"])
        prediction = (
            {"native": ours} if rng.random() < 0.4 else {"text": f"x\nactions:\n{ours}", "convention": "os-atlas"}
        )
        same, right, branch = judge(peeled(ours), action)
        click = same and kind == "click"
        yield {
            "branch": branch,
            "item": step(number, action, of=1),
            "prediction": prediction,
            "parts": {
                "type": [int(same), 1],
                "grounding": [int(right and click), int(click)],
                "step": [int(right), 1],
            },
        }

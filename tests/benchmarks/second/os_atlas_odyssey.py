"""A second implementation of OS-Atlas's GUI-Odyssey script, and cases for every branch of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tests.benchmarks.second.os_atlas import numbers

RULES = {("gui_odyssey", "os-atlas", True): "strict", ("gui_odyssey", "os-atlas", False): "original"}


def peeled(text: str) -> str:
    """The line of an output: what follows the marker, without the characters of ``<|im_end|>`` at its ends."""
    line = text.split("actions:\n")[1] if "actions:\n" in text else ""
    start, end = 0, len(line)
    while start < end and line[start] in "<|im_end|>":
        start += 1
    while end > start and line[end - 1] in "<|im_end|>":
        end -= 1
    return line[start:end].strip()


def judge(gold: str, line: str, strict: bool) -> dict[str, list[int]]:
    kind, did = gold.split(" ")[0], line.split(" ")[0].strip(":")
    right = False
    if did == kind:
        if kind in ("CLICK", "LONG_PRESS"):
            found, wanted = numbers(line), numbers(gold)
            x, y = found if len(found) == 2 else (0, 0)
            near = ((x - wanted[0]) ** 2 + (y - wanted[1]) ** 2) ** 0.5 <= 140
            right = near and (len(found) == 2 or not strict)
        elif kind == "TYPE":
            a, b = set(line.lower().split()), set(gold.lower().split())
            common = len(a & b)
            right = bool(common) and 2 * common / (len(a) + len(b)) > 0.5
        else:
            right = line == gold if kind == "SCROLL" else True
    pressed = did == kind and kind in ("CLICK", "LONG_PRESS")
    return {
        "type": [int(did == kind), 1],
        "grounding": [int(right and kind == "CLICK"), int(pressed)],
        "step": [int(right), 1],
    }


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    sums = {name: [sum(case[key][name][at] for case in cases) for at in (0, 1)] for name in cases[0][key]}
    return {name: hits / counted if counted else None for name, (hits, counted) in sums.items()}


def cases(rng: random.Random, count: int) -> Iterator[dict]:
    for number in range(count):
        action = rng.choice(["CLICK", "CLICK", "LONG_PRESS", "SCROLL", "TEXT", "KEY", "COMPLETE", "INCOMPLETE"])
        x, y = rng.choice([(rng.randint(0, 1000), rng.randint(0, 1000)), (rng.randint(0, 140), rng.randint(0, 140))])
        words = rng.choice(["red shoes size ten", "mend", "hello", "KEY_HOME", "10:30 lunch"])
        info, gold = "", "COMPLETE" if action == "COMPLETE" else "IMPOSSIBLE"
        if action in ("CLICK", "LONG_PRESS"):
            info, gold = [[x, y]] * rng.randint(1, 2), f"{action} <point>[[{x},{y}]]</point>"
        elif action == "SCROLL":
            info, gold = [[500, 800], [500, 200]], "SCROLL [UP]"
        elif action == "TEXT":
            info, gold = words, f"TYPE [{words}]"
        elif action == "KEY":
            action, info, gold = rng.choice(["CLICK", "LONG_PRESS"]), "KEY_BACK", "PRESS_BACK"
        kind = gold.split(" ")[0]
        dx, dy = rng.choice([0, 84, 99, 112, 140, 141]), rng.choice([0, 0, 84, 99, 112, 1])
        line = {
            "TYPE": f"TYPE [{rng.choice([words, words[:-3], words + ' and more', 'other', ''])}]",
            "SCROLL": f"SCROLL [{rng.choice(['UP', 'DOWN', 'up'])}]",
        }.get(kind, gold)  # fmt: skip
        if kind in ("CLICK", "LONG_PRESS"):
            place = f"{kind} <point>[[{x + dx},{y + dy}]]</point>"
            line = rng.choice([place] * 5 + [kind, f"{kind} [[{x}]]", f"{kind}: ({x}, {y})", f"{place} 7", f"m{place}"])
        line = rng.choice(
            [line] * 9 + ["WAIT", "CLICK <point>[[1,2]]</point>", f"{line} ", f" {line}", f"{line}: now", "men"]
        )
        text = rng.choice(["think\nactions:\n{}<|im_end|>", "actions:\n{}", "actions:\n{}\nactions:\nWAIT", "{}"])
        prediction = {"text": text.replace("{}", line), "convention": "os-atlas"}
        item = {"episode": f"e{number // 5}", "step": number % 5, "step_length": 5, "category": "c", "goal": "?"}
        item |= {"action": action, "info": info}
        strict, original = (judge(gold, peeled(prediction["text"]), each) for each in (True, False))
        yield {"item": item, "prediction": prediction, "strict": strict, "original": original}

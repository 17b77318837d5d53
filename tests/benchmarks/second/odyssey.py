"""A second implementation of GUI-Odyssey's official matching, and cases for every branch of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

POINT = re.compile(r"^\(\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*\)$")


def edits(a: str, b: str) -> int:
    """Levenshtein distance by the full table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            if i == 0 or j == 0:
                table[i][j] = i + j
            else:
                table[i][j] = min(
                    table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
                )
    return table[-1][-1]


def wanted_command(item: dict) -> str:
    keys = {"KEY_HOME": "PRESS_HOME", "KEY_BACK": "PRESS_BACK", "KEY_APPSELECT": "PRESS_RECENT"}
    info = item["info"]
    if info in list(keys):
        return keys[info]
    if item["action"] in ("CLICK", "LONG_PRESS"):
        return f"{item['action']}: ({info[0][0]}, {info[0][1]})"
    if item["action"] == "SCROLL":
        dx, dy = info[1][0] - info[0][0], info[1][1] - info[0][1]
        if abs(dx) > abs(dy):
            return "SCROLL: LEFT" if dx < 0 else "SCROLL: RIGHT"
        return "SCROLL: UP" if dy < 0 else "SCROLL: DOWN"
    if item["action"] in ("TEXT", "TYPE"):
        return f"TYPE: {info}"
    return "COMPLETE" if item["action"] == "COMPLETE" else "IMPOSSIBLE"


def halves(command: str) -> tuple[str, str]:
    pieces = command.split(":")
    return pieces[0].strip(), (pieces[1].strip() if len(pieces) >= 2 else "")


def judge(ours: str, item: dict, strict: bool) -> tuple[bool, bool, str]:
    """(same action, right, branch)."""
    reference = wanted_command(item)
    (kind, info), (wanted, wanted_info) = halves(ours), halves(reference)
    if kind != wanted:
        return False, False, "another action"
    if kind == "TYPE":
        if not info and wanted_info:
            return True, not strict, "text: empty"
        if wanted_info in info or info in wanted_info:
            cut = reference.count(":") > 1 or ours.count(":") > 1
            return True, True, "text: equal up to a colon" if cut else "text: contained"
        close = 1 - edits(info, wanted_info) / max(len(info), len(wanted_info))
        return True, close >= 0.5, "text: similar" if close >= 0.5 else "text: other"
    if kind == "SCROLL":
        right = info.upper() == wanted_info.upper()
        return True, right, "scroll: same" if right else "scroll: other"
    if kind in ("CLICK", "LONG_PRESS"):
        found = POINT.match(info)
        if found is None:
            return True, False, "point: unreadable"
        x, y = float(found[1]), float(found[2])
        box = item.get("box")
        if box and box[0] <= x <= box[2] and box[1] <= y <= box[3]:
            return True, True, "point: in the box"
        dx, dy = (x - item["info"][0][0]) / 1000, (y - item["info"][0][1]) / 1000
        near = (dx * dx + dy * dy) ** 0.5 <= 0.14
        return True, near, f"point: {'near' if near else 'far'}, {'with' if box else 'without'} a box"
    return True, True, "by type alone"


TEXTS = ["Fold mountains", "best laptops 2024", "hello", "10:30 meeting", "Zürich weather", "x"]


def cases(rng: random.Random, count: int) -> Iterator[dict[str, object]]:
    for number in range(count):
        action = rng.choice(["CLICK", "CLICK", "LONG_PRESS", "SCROLL", "TEXT", "TEXT", "KEY", "COMPLETE", "INCOMPLETE"])
        item: dict = {"action": action, "info": ""}
        if action in ("CLICK", "LONG_PRESS"):
            x, y = rng.randint(0, 1000), rng.randint(0, 1000)
            item["info"] = [[x, y]]
            if rng.random() < 0.5:
                item["box"] = [
                    x - rng.randint(5, 400),
                    y - rng.randint(5, 60),
                    x + rng.randint(5, 400),
                    y + rng.randint(5, 60),
                ]
            dx, dy = rng.choice([0, 30, 99, 140, 141, -300, 350]), rng.choice([0, 0, 50, 99, -141, 20])
            ours = rng.choice([f"{action}: ({x + dx}, {y + dy})"] * 6 + [f"{action}: {x}", action, f"{action}: (a, b)"])
        elif action == "SCROLL":
            start = [rng.randint(200, 800), rng.randint(200, 800)]
            step = rng.choice([[0, -300], [0, 250], [-200, 10], [180, 20], [150, 150], [-90, -90]])
            item["info"] = [start, [start[0] + step[0], start[1] + step[1]]]
            ours = f"SCROLL: {rng.choice(['UP', 'DOWN', 'LEFT', 'RIGHT', 'up', 'Down'])}"
        elif action == "TEXT":
            text = rng.choice(TEXTS)
            item["action"] = rng.choice(["TEXT", "TYPE"])
            item["info"] = text
            typo = "".join(letter if rng.random() < 0.75 else "q" for letter in text)
            half = text[: len(text) // 2]
            written = rng.choice([text, f"{text} now", half, typo, typo[::-1], "", "zzzz", f"{text}: more"])
            ours = f"TYPE: {written}"
        elif action == "KEY":
            item["action"] = "CLICK"
            item["info"] = rng.choice(["KEY_HOME", "KEY_BACK", "KEY_APPSELECT"])
            ours = rng.choice(["PRESS_HOME", "PRESS_BACK", "PRESS_RECENT", "PRESS_HOME: now"])
        else:
            ours = rng.choice(["COMPLETE", "IMPOSSIBLE", "COMPLETE "])
        if rng.random() < 0.08:
            ours = rng.choice(["CLICK: (500, 500)", "SCROLL: UP", "PRESS_BACK", "nonsense", "complete"])
        same, right, branch = judge(ours, item, strict=True)
        yield {
            "branch": branch,
            "item": {
                "episode": f"e{number}",
                "step": 0,
                "step_length": 1,
                "category": "General_Tool",
                "goal": "?",
                **item,
            },
            "prediction": {"native": ours},
            "expected": {"type": [int(same), 1], "step": [int(right), 1]},
            "lenient": {"type": [int(same), 1], "step": [int(judge(ours, item, strict=False)[1]), 1]},
        }


BRANCHES = {
    "another action",
    "text: empty",
    "text: contained",
    "text: equal up to a colon",
    "text: similar",
    "text: other",
    "scroll: same",
    "scroll: other",
    "point: unreadable",
    "point: in the box",
    "point: near, with a box",
    "point: far, with a box",
    "point: near, without a box",
    "point: far, without a box",
    "by type alone",
}

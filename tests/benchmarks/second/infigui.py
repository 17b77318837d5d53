"""A second implementation of InfiGUI-R1's AndroidControl script (P3), and cases for every branch of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

from tests.benchmarks.second.items import HEIGHT, WIDTH, step

RULES = {("android_control", "p3-high", True): "strict", ("android_control", "p3-high", False): "original"}
RESIZED = [1092, 2408]
OPENING = '{"name": "mobile_use", "arguments":'
FINGER = {"up": "down", "down": "up", "left": "right", "right": "left"}


def called(text: str) -> Any:
    """The arguments in an output; raises whatever the script would."""
    text = text.split("</think>")[-1]
    pieces = text.split("<tool_call>")
    body = pieces[1] if len(pieces) > 1 else OPENING + text.split(OPENING, 1)[1]
    if "</tool_call>" in body:
        body = body[: body.index("</tool_call>")]
    else:
        head = body.split("<conclusion>")[0]
        last = head.rfind("}}")
        body = (head if last < 0 else head[:last]) + "}}"
    return json.loads(body)["arguments"]


def contains(ours: str, gold: str, strict: bool) -> bool:
    ours, gold = ours.lower().strip(), gold.lower().strip()
    return bool(ours or not gold or not strict) and (ours in gold or gold in ours)


def on_target(place: list[float], boxes: list[list[float]], centre: list[float]) -> bool:
    for left, top, right, bottom in boxes:
        middle, half = (left + right) / 2, (right - left) * 1.2 / 2
        level, tall = (top + bottom) / 2, (bottom - top) * 1.2 / 2
        if middle - half <= place[0] <= middle + half and level - tall <= place[1] <= level + tall:
            return True
    across, down = (centre[0] - place[0]) * RESIZED[0], (centre[1] - place[1]) * RESIZED[1]
    return (across * across + down * down) ** 0.5 <= 0.04 * max(RESIZED)


def judge(gold: dict, boxes: list[list[float]], call: Any, strict: bool) -> tuple[bool, bool]:
    """(type match, exact match); raises whatever the script would."""
    ours = dict(call)
    for name in ("coordinate", "coordinate2"):
        if name in ours:
            ours[name] = [ours[name][0] / RESIZED[0], ours[name][1] / RESIZED[1]]
    scaled = [[box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT] for box in boxes]
    kind, did = gold["action_type"], ours["action"]
    if kind == "wait":
        return did == "wait", did == "wait"
    if kind == "navigate_back":
        return did == "system_button", did == "system_button" and ours["button"].lower().strip() == "back"
    if kind == "input_text":
        return did == "type", did == "type" and contains(ours["text"], gold["text"], strict)
    if kind == "open_app":
        if did == "click" and scaled:
            first = scaled[0]
            centre = [(first[0] + first[2]) / 2, (first[1] + first[3]) / 2]
            return True, on_target(ours["coordinate"], scaled, centre)
        return did == "open", did == "open" and contains(ours["text"], gold["app_name"], strict)
    if kind == "scroll":
        if did != "swipe":
            return False, False
        (x1, y1), (x2, y2) = ours["coordinate"], ours["coordinate2"]
        sideways, upright = ("right" if x2 > x1 else "left"), ("down" if y2 > y1 else "up")
        return True, (sideways if abs(x2 - x1) > abs(y2 - y1) else upright) == FINGER[gold["direction"]]
    if did != kind:
        return False, False
    return True, on_target(ours["coordinate"], scaled, [gold["x"] / WIDTH, gold["y"] / HEIGHT])


def parts(gold: dict, boxes: list[list[float]], prediction: dict, strict: bool) -> dict[str, list[int]]:
    same = exact = click = False
    try:
        call = prediction["native"] if "native" in prediction else called(prediction["text"])
        same, exact = judge(gold, boxes, call, strict)
        click = exact and call["action"] == "click"
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        same = exact = click = False
    return {
        "type": [int(same), 1],
        "grounding": [int(click), int(gold["action_type"] == "click")],
        "step": [int(exact), 1],
    }


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    """The script's type and exact match of a file; its errors are in the denominator."""
    return {name: sum(case[key][name][0] for case in cases) / len(cases) for name in ("type", "step")}


def said(rng: random.Random, call: dict) -> str:
    """A call as a model may write it, from well formed to hardly a call."""
    whole = f'{{"name": "mobile_use", "arguments":{rng.choice(["", " "])}{json.dumps(call)}}}'
    other = '{"name": "mobile_use", "arguments": {"action": "wait"}}'
    return rng.choice(
        [f"<tool_call>\n{whole}\n</tool_call>", f"<think>so <tool_call></think>\n<tool_call>{whole}</tool_call> done",
         f"I will do it. {whole} That is all.", f"<tool_call>{whole}<conclusion>x}}}}</conclusion>",
         f"<tool_call>{whole}",
         f"<tool_call>{whole[:-2]}", f"<tool_call>{whole[:-1]}</tool_call>", whole, whole[:-1], json.dumps(call), "",
         f"<tool_call>{whole}</tool_call><tool_call>{other}</tool_call>", f"<tool_call><tool_call>{whole}</tool_call>",
         f"{whole}</tool_call> and", f"{other} or {whole}", f"<tool_call>{json.dumps(call)}</tool_call>",
         f"<tool_call>{whole.replace('}', '', 1)}</tool_call>", whole.replace("mobile_use", "computer_use"),
         f"<tool_call>```json\n{whole}\n```</tool_call>", f"<tool_call>[{whole}]</tool_call>"]
    )  # fmt: skip


def cases(rng: random.Random, count: int) -> Iterator[dict]:
    for number in range(count):
        kind = rng.choice(["click"] * 3 + ["long_press", "scroll", "open_app", "input_text", "navigate_back", "wait"])
        x, y = rng.randrange(WIDTH), rng.randrange(HEIGHT)
        gold: dict = {"action_type": kind}
        gold |= {
            "click": {"x": x, "y": y}, "long_press": {"x": x, "y": y}, "open_app": {"app_name": "Clock"},
            "scroll": {"direction": rng.choice([*FINGER])}, "input_text": {"text": "Hello World"},
        }.get(kind, {})  # fmt: skip
        boxes = [
            [float(x - rng.randint(1, 90)), float(y - rng.randint(1, 40)), float(x + rng.randint(1, 90)), y + 30.0]
            for _ in range(rng.randint(0, 2))
        ]
        across, down = rng.choice([0, 0, 40, 95, 97, -200]), rng.choice([0, 0, 20, 33, 60, 96, -300])
        place = [round(x * RESIZED[0] / WIDTH) + across, round(y * RESIZED[1] / HEIGHT) + down]
        usual = {"open_app": "open", "input_text": "type", "scroll": "swipe", "navigate_back": "system_button"}
        call: dict = {"action": rng.choice([usual.get(kind, kind)] * 4 + ["click", "terminate", 3, None])}
        call |= {"coordinate": place} if call["action"] in ("click", "long_press", "swipe") else {}
        if call["action"] == "swipe":
            call["coordinate2"] = [place[0] + rng.choice([0, 50, -200]), place[1] + rng.choice([0, 50, -200])]
        if call["action"] in ("type", "open"):
            call["text"] = rng.choice(["hello", "clock", "Say Hello World ", "the CLOCK app", "", " ", "bye", None, 7])
        if call["action"] == "system_button":
            call["button"] = rng.choice(["Back", " back", "Home", "Menu", None])
        if rng.random() < 0.15:
            call[rng.choice(["coordinate", "coordinate2"])] = rng.choice([[], None, [1], ["1", 2], "12", [1, 2, 3], {}])
        if rng.random() < 0.1 and len(call) > 1:
            del call[rng.choice([name for name in call if name != "action"])]
        if rng.random() < 0.03:
            del call["action"]
        prediction: dict = {"native": call, "resized": RESIZED}
        if rng.random() < 0.6:
            prediction = {"text": said(rng, call), "convention": "qwen2.5-vl", "resized": RESIZED}
        item = step(number, gold, boxes=boxes)
        strict, original = (parts(gold, boxes, prediction, each) for each in (True, False))
        yield {"item": item, "prediction": prediction, "strict": strict, "original": original}

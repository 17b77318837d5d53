"""A second implementation of GTA's two modes and of T3-Agent's answer rule, and cases for every branch of them."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

RULES = {("gta", "step", True): "step", ("gta", "end-to-end", True): "end-to-end", ("gta", "t3", False): "t3"}
GROUPS = {
    "perception": ["OCR", "ImageDescription", "RegionAttributeDescription", "TextToBbox"],
    "operation": ["DrawBox", "AddText", "GoogleSearch"],
    "logic": ["Calculator", "Solver", "Plot", "MathOCR", "CountGivenObject"],
    "creativity": ["TextToImage", "ImageStylization"],
}
PICTURES = ["DrawBox", "AddText", "Plot", "TextToImage", "ImageStylization"]
TOOLS = [tool for group in GROUPS.values() for tool in group]


def overlap(a: str, b: str) -> float:
    """The similarity that stands in for a sentence encoder: shared words of all words."""
    left, right = set(a.lower().split()), set(b.lower().split())
    return round(len(left & right) / len(left | right), 6) if left | right else 0.0


def word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def has(answer: str, aliases: list[str]) -> bool:
    """Whether some alias stands in the answer with a word boundary at both of its ends, case ignored."""
    text = answer.lower()
    for alias in (alias.lower() for alias in aliases):
        for start in range(len(text) - len(alias) + 1):
            if text[start : start + len(alias)] != alias:
                continue
            end = start + len(alias)
            before, after = text[start - 1 : start], text[end : end + 1]
            if word(alias[0]) != bool(before and word(before)) and word(alias[-1]) != bool(after and word(after)):
                return True
    return False


def objective(answer: str, truth: dict) -> tuple[bool, str]:
    if not all(has(answer, group) for group in truth["whitelist"]):
        return False, "whitelist: missing"
    banned = [alias for group in truth.get("blacklist") or [] for alias in group]
    if banned and has(answer, banned):
        return False, "blacklist: present"
    return True, "whitelist: complete"


def answer_score(answer: str, item: dict) -> tuple[float, str]:
    if item.get("objective"):
        right, branch = objective(answer, item["objective"])
        return float(right), branch
    return max(overlap(answer, reference) for reference in item["subjective"]), "subjective"


def kind(turn: dict) -> str:
    return "tool" if "tool" in turn else "answer"


def step(item: dict, ours: list[dict]) -> tuple[dict, set[str]]:
    branches = set()
    gold_calls = sum("tool" in turn for turn in item["turns"])
    answered = bool(item.get("objective") or item.get("subjective"))
    follow = tool = argument = 0
    summary = 0.0
    for turn, gold in zip(ours, item["turns"], strict=False):
        if kind(turn) != kind(gold):
            branches.add("step: another kind")
            continue
        if "error" in turn:
            branches.add("step: an error")
        else:
            follow += 1
        if "tool" in gold:
            if turn["tool"] != gold["tool"]:
                branches.add("step: another tool")
                continue
            tool += 1
            same = turn.get("arguments", {}) == gold["arguments"]
            argument += same
            branches.add("step: the same arguments" if same else "step: other arguments")
        elif answered:
            score, branch = answer_score(turn.get("answer", ""), item)
            summary += score
            branches.add(f"step: {branch}")
    if len(ours) < len(item["turns"]):
        branches.add("step: fewer turns")
    return {
        "instruction": [follow, gold_calls + answered],
        "tool": [tool, gold_calls],
        "argument": [argument, gold_calls],
        "summary": [round(summary, 6), int(answered)],
    }, branches


def end_to_end(item: dict, ours: list[dict]) -> tuple[dict, set[str]]:
    branches = set()
    answered = bool(item.get("objective") or item.get("subjective"))
    score = 0.0
    if answered:
        if ours and "tool" not in ours[-1] and ours[-1].get("answer"):
            score, branch = answer_score(ours[-1]["answer"], item)
            branches.add(f"end: {branch}")
        else:
            branches.add("end: no answer")
    image = score
    if not answered:
        image = 1.0
        made: dict[str, dict] = {}
        for turn in ours:
            if turn.get("tool") in PICTURES and "error" not in turn:
                made[turn["tool"]] = turn.get("arguments", {})
        for gold in item["turns"]:
            if gold.get("tool") in PICTURES:
                if gold["tool"] not in made:
                    image = 0.0
                    branches.add("image: tool not called")
                    break
                image *= overlap(json.dumps(gold["arguments"]), json.dumps(made[gold["tool"]]))
                branches.add("image: similarity")
    expected: dict = {"answer": [round(score, 6), int(answered)], "answer_image": [round(image, 6), 1]}
    called = [turn["tool"] for turn in ours if "tool" in turn]
    for name, group in GROUPS.items():
        gold_tools = [turn["tool"] for turn in item["turns"] if turn.get("tool") in group]
        hits = len([tool for tool in gold_tools if tool in called])
        expected[f"{name}_precision"] = [hits, len([tool for tool in called if tool in group])]
        expected[f"{name}_recall"] = [hits, len(gold_tools)]
    return expected, branches


def t3(item: dict, answer: Any) -> tuple[list[int], str]:
    """MAT's script prints whatever the answer is, and looks for a part of it."""
    if not item.get("objective"):
        return [0, 0], "t3: not objective"
    low = str(answer).lower()
    right = True
    for group in item["objective"]["whitelist"]:
        right = right and any(low.find(alias.lower()) >= 0 for alias in group)
    return [int(right), 1], "t3: right" if right else "t3: wrong"


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    """A mode's figures of a file; the F1 of a category without a gold call is 0."""
    sums: dict[str, list[float]] = {}
    for case in cases:
        for name, part in case[key].items():
            row = sums.setdefault(name, [0.0, 0.0])
            sums[name] = [row[0] + part[0], row[1] + part[1]]
    found: dict[str, float | None] = {
        name: hits / counted if counted else None
        for name, (hits, counted) in sums.items()
        if not name.endswith(("_precision", "_recall"))
    }
    for group in GROUPS if key == "end-to-end" else ():
        hits, called = sums[f"{group}_precision"]
        gold = sums[f"{group}_recall"][1]
        precision, recall = hits / (called + 1e-5), hits / gold if gold else 0.0
        found[f"{group}_f1"] = 2 * precision * recall / (precision + recall + 1e-5)
    return found


FACTS = [
    {"whitelist": [["12", "twelve"]], "blacklist": None},
    {"whitelist": [["Paris"], ["1889"]], "blacklist": None},
    {"whitelist": [["$5.40", "5.40"]], "blacklist": [["6", "six"]]},
    {"whitelist": [["cat", "kitten"], ["dog"]], "blacklist": [["bird"], ["fish"]]},
]
ANSWERS = [
    "There are 12 of them.",
    "There are 112.",
    "Twelve",
    "The tower in Paris, built in 1889.",
    "Paris",
    "It costs $5.40.",
    "It costs 5.40, not 6.",
    "A cat and a dog",
    "A CAT and a DOG and a bird",
    "cats and dogs",
    "kitten; dog",
    "",
    "no idea",
]
REFERENCES = ["a red bus in the rain", "the bus is red", "people wait for a bus"]


def call(rng: random.Random) -> dict:
    return {
        "tool": rng.choice(TOOLS),
        "arguments": {"image": f"image/{rng.randint(1, 3)}.jpg", "text": rng.choice(["a b", "c d"])},
    }


def cases(rng: random.Random, count: int) -> Iterator[dict[str, object]]:
    for _ in range(count):
        turns = [call(rng) for _ in range(rng.randint(1, 4))]
        item: dict = {"goal": "?", "turns": turns}
        what = rng.choice(["objective", "objective", "subjective", "image"])
        if what == "objective":
            item["objective"] = rng.choice(FACTS)
        elif what == "subjective":
            item["subjective"] = rng.sample(REFERENCES, 2)
        else:
            turns[-1] = {**call(rng), "tool": rng.choice(PICTURES)}
        answer = rng.choice(REFERENCES if what == "subjective" else ANSWERS)
        if what != "image":
            turns.append({"answer": "gold"})
        ours: list[dict] = []
        for turn in turns:
            if "tool" in turn:
                other = rng.choice(
                    [turn, turn, {**turn, "arguments": {"image": "image/9.jpg"}}, call(rng), {"answer": "early"}]
                )
                ours.append(dict(other))
            else:
                ours.append({"answer": answer} if rng.random() < 0.85 else call(rng))
            if rng.random() < 0.1:
                ours[-1]["error"] = "timed out"
        if rng.random() < 0.15:
            ours = ours[:-1]
        step_expected, step_branches = step(item, ours)
        end_expected, end_branches = end_to_end(item, ours)
        final = rng.choice([answer] * 6 + [12, 5.4, None, ["cat", "dog"], {"cost": 5.40}, True])
        t3_expected, t3_branch = t3(item, final)
        yield {
            "branch": sorted(step_branches | end_branches | {t3_branch}),
            "item": item,
            "prediction": {"native": {"turns": ours, "answer": final}},
            "step": step_expected,
            "end-to-end": end_expected,
            "t3": {"answer": t3_expected},
        }

"""Mutated predictions through every route of every protocol: each is an outcome, and soon, whatever is in it."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.benchmarks.gold import of_agentdojo, of_bfcl
from tests.benchmarks.test_second import RULES, scorer_of
from tracer import plugins
from tracer.grammars.conventions import Convention
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import Benchmark, Row
from tracer.scoring.files import Predictions
from tracer.scoring.score import _line, judge
from tracer.settings import ConfigError

SECONDS = 2.0
CONVENTIONS = get_args(Convention)
TEXTS = {
    "literal": ("1. click Send @ (500, 600)", '1. type "hello"'),
    "os-atlas": ("actions:\nCLICK <point>[[500,500]]</point><|im_end|>", "actions:\nTYPE [hello world]"),
    "odyssey": ("CLICK: (500, 500)", "TYPE: hello: world", "SCROLL: UP"),
    "qwen2.5-vl": ('<tool_call>{"name": "mobile_use", "arguments": {"action": "click", "coordinate": [5, 6]}}'
                   "</tool_call>",),
    "qwen3-vl": ('<tool_call>{"name": "mobile_use", "arguments": {"action": "swipe", "coordinate": [5, 6], '
                 '"coordinate2": [7, 900]}}</tool_call>',),
    "ui-tars": ("Thought: x\nAction: click(start_box='(500,500)')", "Action: scroll(direction='down')"),
    "ui-tars-1.5": ("Action: drag(start_box='(5,5)', end_box='(9,9)')", "Action: type(content='a')"),
    "gui-r1": ("<answer>[{'action': 'click', 'point': [5, 6], 'input_text': 'x'}]</answer>",),
}  # fmt: skip
ACTIONS = (
    {"type": "click", "x": 0.5, "y": 0.5}, {"type": "type", "text": "hello", "x": 0.1, "y": 0.2}, {"type": "wait"},
    {"type": "scroll", "direction": "up"}, {"type": "open_app", "app": "Clock"}, {"type": "answer", "text": "12"},
    {"type": "terminate", "status": "failure"}, {"type": "tool_call", "name": "t", "arguments": {"a": 1}},
)  # fmt: skip
JUNK: tuple[Any, ...] = (
    None, True, 0, -1, 2**63, 2**64, 10**400, 1e308, -0.0, 0.1, "", " ", "a", "\ud83d", "\x00", "９", "9" * 400,
    "9" * 5000,     "[[1, 2]]", "{}", "None", "nan", "-" * 3000, "[" * 3000, "(" * 300, "é" * 50, [], {}, [[]],
    [None, None], ["1", "2"], [10**400, 1], [1e308, -1e308], {"action": None},
    "KEY_HOME", "CLICK: garbage", "__import__('os')", "1" + "0" * 30,
)  # fmt: skip
SPLICES = (
    "{", "}", "[", "]", "(", ")", "'", '"', ":", ",", "\n", "\\", "<answer>", "</answer>", "<tool_call>",
    "</tool_call>",     "actions:\n", "Action:", "<|im_end|>", "9" * 400, "9" * 5000,
    "1e999", "-", ".", "NaN", "Infinity", "null", "\ud83d", "\x00",
    "٣", "[[", "}}", "</think>", "start_box=", "lambda: 0", "**x", "1_0", "0x10", "1j", "'a' 'b'", " " * 50, "[" * 5000,
)  # fmt: skip


@cache
def own_cases(name: str) -> tuple[Benchmark, list[tuple[Row, dict[str, Any]]]]:
    """A benchmark that no second implementation has: its items, and predictions that are right."""
    scorer = scorer_of(name, protocols.default(name), True)
    if name == "miniwob":
        right: Iterator[dict[str, Any]] = (
            {"id": item["id"], "native": {"success": True, "steps": 3}} for item in scorer.own_items()
        )
    else:
        right = of_agentdojo(scorer.match.suites) if name == "agentdojo" else of_bfcl()
    chosen = {row["id"]: row for row in islice(right, 8)}
    items = (scorer.item_model.model_validate(item) for item in scorer.own_items() if item["id"] in chosen)
    return scorer, [(item, chosen[item.id]) for item in items]


@cache
def cases(name: str) -> list[tuple[Benchmark, list[tuple[Row, dict[str, Any]]]]]:
    """Every rule of a benchmark with items and well-formed predictions."""
    found = []
    for module, benchmark, protocol, strict, _ in RULES:
        if benchmark == name:
            scorer = scorer_of(benchmark, protocol, strict)
            rows = module.cases(random.Random("fuzz"), 60)
            found.append(
                (scorer, [(scorer.item_model.model_validate({"id": "i", **r["item"]}), r["prediction"]) for r in rows])
            )
    return found or [own_cases(name)]


def mutated(rng: random.Random, value: Any) -> Any:
    """The value with something in it replaced, added, left out or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.15:
            return {each: inner for each, inner in value.items() if each != key}
        return {**value, key: mutated(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        ending = [] if rng.random() < 0.2 else value[at + 1 :] * rng.choice([1, 1, 1, 3])
        return [*value[:at], mutated(rng, value[at]), *ending]
    if isinstance(value, str) and rng.random() < 0.7:
        return spliced(rng, value)
    return rng.choice(JUNK)


def spliced(rng: random.Random, text: str) -> str:
    """The text with pieces put in, cut out or repeated."""
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randint(0, len(text)), rng.choice([0, 0, 1, 3, 20])
        text = text[:at] + rng.choice([*SPLICES, text[at : at + 9] * 50]) + text[at + length :]
    return text[:50_000]


def line(rng: random.Random, key: str, prediction: dict[str, Any]) -> bytes:
    """A line of predictions.jsonl by one of the routes, mutated; the id stays."""
    route = rng.choice(["native", "native", "text", "text", "action"])
    if route == "text":
        convention = rng.choice(CONVENTIONS)
        prediction = {"text": rng.choice(TEXTS[convention]), "convention": convention, "resized": [1000, 2000]}
        prediction["text"] = spliced(rng, prediction["text"])
    elif route == "action":
        prediction = {"action": rng.choice(ACTIONS)}
    given = {name: value for name, value in prediction.items() if name != "id"}
    if route != "text" or rng.random() < 0.2:
        given = mutated(rng, given) if rng.random() < 0.95 else given
    row = given if isinstance(given, dict) else {"native": given}
    written = json.dumps({"id": key, **row}, ensure_ascii=rng.random() < 0.5)
    return written.encode("utf-8", "surrogatepass")


def outcome(folder: Path, scorer: Benchmark, item: Row, prediction: bytes) -> dict[str, Any]:
    """What is stored of one prediction, through the file and the one place where all are judged."""
    path = folder / "p.jsonl"
    path.write_bytes(prediction)
    given = Predictions(path, scorer.prediction_model)
    try:
        found = judge(scorer, item, given)
    finally:
        given.close()
    return dict(orjson.loads(orjson.dumps(_line(item, found))))


def check(folder: Path, name: str, seed: int) -> None:
    rng = random.Random(seed)
    scorer, rows = rng.choice(cases(name))
    item, prediction = rng.choice(rows)
    begun = time.process_time()
    stored = outcome(folder, scorer, item, line(rng, item.id, prediction))
    assert time.process_time() - begun < SECONDS
    assert stored.get("reason", "") in ("", "malformed", "unparsable", "crashed"), stored
    for numerator, denominator in stored["parts"].values():
        assert isinstance(numerator, int | float) and numerator >= 0 and denominator >= 0


COUNTS = {name: {"agentdojo": 10, "bfcl": 60}.get(name, 160) for name in plugins.names(plugins.BENCHMARKS)}
"""About 1,300 inputs together; AgentDojo's workplaces take half a minute to load."""
SLOW = [(name, 40) for name in COUNTS]
"""More than 50,000."""


@pytest.mark.parametrize(
    ("name", "times"),
    [(name, 1) for name in COUNTS if name != "agentdojo"]
    + [pytest.param(*each, marks=pytest.mark.slow) for each in SLOW],
)
def test_every_prediction_that_names_its_item_is_an_outcome(
    name: str, times: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzz")
    try:
        cases(name)
    except ConfigError as error:
        pytest.skip(str(error))

    @settings(
        max_examples=COUNTS[name] * times, derandomize=True, deadline=None, database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    @given(st.integers(0, 2**48))
    def examples(seed: int) -> None:
        check(folder, name, seed)

    examples()


BOMBS = ("{", "[1,2]", "[1,\n2]\n", "<answer>", " ", "9", "(", "'action':'", "<tool_call>", "actions:\n", "-", "\n",
         "1 ", "{[1,2]", "x=(", "'input_text':\n", "}}", "_ ", "1,1 ")  # fmt: skip


OWN = [
    ("android_control", "p1-high-7708", "os-atlas"), ("android_control", "p2-high", "gui-r1"),
    ("android_control", "p3-high", "qwen2.5-vl"), ("gui_odyssey", "official-pooled", "odyssey"),
]  # fmt: skip
"""The protocols that read a convention themselves, and so at any length."""


def test_a_megabyte_of_anything_is_judged_in_two_seconds(tmp_path: Path) -> None:
    (gaia,) = cases("gaia")
    own = {protocol: (scorer, rows) for name in ("android_control", "gui_odyssey") for scorer, rows in cases(name)
           if (protocol := scorer.protocol.name)}  # fmt: skip
    given = [(*own[protocol], convention, 900_000) for _, protocol, convention in OWN]
    for scorer, rows, convention, size in [*given, *((*gaia, each, 99_000) for each in CONVENTIONS)]:
        for bomb in BOMBS:
            text = TEXTS[convention][0][:12] + bomb * (size // len(bomb.encode()))
            row = {"id": rows[0][0].id, "text": text, "convention": convention}
            begun = time.process_time()
            outcome(tmp_path, scorer, rows[0][0], json.dumps(row, ensure_ascii=False).encode())
            assert time.process_time() - begun < SECONDS, (scorer.protocol.id, convention, bomb)

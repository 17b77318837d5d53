"""The scorers against second implementations, case by case, on every branch of the rules."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import generate
from tests.benchmarks.second.gta import overlap
from tracer.benchmarks.android_control_rules import AndroidControl
from tracer.benchmarks.gaia import Gaia
from tracer.benchmarks.gta import Gta
from tracer.benchmarks.gui_odyssey import GuiOdyssey
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import Outcome, Unparsable

DATA = Path(__file__).parent / "data"


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def outcome(scorer: Any, item: dict[str, Any], prediction: dict[str, Any]) -> Outcome:
    return scorer.outcome(scorer.item_model.model_validate(item), scorer.prediction_model.model_validate(prediction))


def parts(found: Outcome) -> dict[str, list[float]]:
    return {name: [round(float(n), 6), float(d)] for name, (n, d) in found.parts.items()}


@pytest.mark.parametrize("name", generate.MODULES)
def test_the_data_is_what_the_generator_writes(name: str) -> None:
    assert (DATA / f"{name}.jsonl").read_text(encoding="utf-8") == generate.text(name)


@pytest.mark.parametrize("name", generate.MODULES)
def test_the_cases_are_many_and_reach_every_branch(name: str) -> None:
    counts: Counter[str] = Counter()
    cases = read(name)
    for case in cases:
        counts.update([case["branch"]] if isinstance(case["branch"], str) else case["branch"])
    assert len(cases) >= 200
    assert set(counts) == generate.MODULES[name].BRANCHES
    assert min(counts.values()) >= 2


def test_gaia() -> None:
    scorer = Gaia(protocols.load("gaia", "validation"))
    for case in read("gaia"):
        assert parts(outcome(scorer, case["item"], case["prediction"])) == case["expected"], case


@pytest.mark.parametrize(("strict", "wanted"), [(True, "expected"), (False, "lenient")])
def test_gui_odyssey(strict: bool, wanted: str) -> None:
    scorer = GuiOdyssey(protocols.load("gui_odyssey", "official-pooled", strict))
    for case in read("odyssey"):
        assert parts(outcome(scorer, case["item"], case["prediction"])) == case[wanted], case


def test_os_atlas_android_control() -> None:
    scorer = AndroidControl(protocols.load("android_control", "p1-high-7708"))
    for case in read("os_atlas"):
        assert parts(outcome(scorer, case["item"], case["prediction"])) == case["expected"], case


@pytest.mark.parametrize("name", ["step", "end-to-end"])
def test_gta(name: str) -> None:
    scorer = Gta(protocols.load("gta", name), similarity=overlap)
    for case in read("gta"):
        assert parts(outcome(scorer, case["item"], case["prediction"])) == case["expected"][name], case


def test_gta_as_t3_agent_scores_it() -> None:
    scorer = Gta(protocols.load("gta", "t3"))
    for case in read("gta"):
        prediction = {"id": case["item"]["id"], **case["t3"]["prediction"]}
        assert parts(outcome(scorer, case["item"], prediction))["answer"] == case["t3"]["answer"], case


def test_a_prediction_longer_than_the_gold_chain_is_refused() -> None:
    scorer = Gta(protocols.load("gta", "step-objective"))
    case = read("gta")[0]
    turns = case["item"]["turns"] * 2
    with pytest.raises(Unparsable, match="turns"):
        outcome(scorer, case["item"], {"id": "x", "native": {"turns": turns}})

"""The scorers against second implementations of the publishers' scripts: case by case, and file by file.

The second implementations share no code with tracer/. ``strict`` is judged by the named deviations, ``original`` as the
script does.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.benchmarks.second import (
    android_world,
    gaia,
    gta,
    gui_r1,
    infigui,
    mind2web,
    odyssey,
    os_atlas,
    os_atlas_odyssey,
    osworld,
    uground,
)  # fmt: skip
from tracer.benchmarks.gta import Gta
from tracer.lineage.digest import digest_of
from tracer.scoring import protocol as protocols
from tracer.scoring.aggregate import Tally
from tracer.scoring.contract import Benchmark, benchmark_class
from tracer.scoring.score import judge

MODULES = (
    android_world, gaia, gta, gui_r1, infigui, mind2web, odyssey, os_atlas, os_atlas_odyssey, osworld, uground,
)  # fmt: skip
RULES = [(module, *rule, key) for module in MODULES for rule, key in module.RULES.items()]
IDS = [f"{benchmark}/{protocol}/{'strict' if strict else 'original'}" for _, benchmark, protocol, strict, _ in RULES]
FILE = 160
VERSIONS = Path(__file__).with_name("versions.json")


class Given:
    """One prediction, as the scorer asks for it."""

    def __init__(self, prediction: Any) -> None:
        self.prediction = prediction

    def take(self, key: str) -> Any:
        return self.prediction


def scorer_of(benchmark: str, protocol: str, strict: bool) -> Benchmark:
    rules = protocols.load(benchmark, protocol, None if strict else False)
    return Gta(rules, similarity=gta.overlap) if benchmark == "gta" else benchmark_class(benchmark)(rules)


def judged(module: ModuleType, scorer: Benchmark, count: int) -> Iterator[tuple[dict[str, Any], Any]]:
    """Generated cases, each with our outcome of it."""
    for number, case in enumerate(module.cases(random.Random(f"tracer {module.__name__}"), count)):
        item = scorer.item_model.model_validate({"id": f"case-{number}", **case["item"]})
        prediction = scorer.prediction_model.model_validate({"id": item.id, **case["prediction"]})
        given: Any = Given(prediction)
        yield case, judge(scorer, item, given)


@pytest.mark.parametrize("count", [960, pytest.param(10_080, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("module", "benchmark", "protocol", "strict", "key"), RULES, ids=IDS)
def test_a_second_implementation_agrees(
    module: Any, benchmark: str, protocol: str, strict: bool, key: str, count: int
) -> None:
    scorer = scorer_of(benchmark, protocol, strict)
    tally, chunk = Tally(scorer.protocol), []
    for case, outcome in judged(module, scorer, count):
        ours = {name: [round(float(n), 6), float(d)] for name, (n, d) in outcome.parts.items()}
        theirs = {name: [round(float(n), 6), float(d)] for name, (n, d) in case[key].items()}
        assert {name: ours[name] for name in theirs} == theirs, case
        tally.add(outcome)
        chunk.append(case)
        if len(chunk) == FILE:
            figures = tally.figures()
            for name, wanted in module.figures(chunk, key, protocol).items():
                assert figures[name].value() == (None if wanted is None else pytest.approx(wanted, abs=1e-6)), name
            tally, chunk = Tally(scorer.protocol), []


@pytest.mark.parametrize(
    "module", [gaia, gta, odyssey, os_atlas], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_the_cases_reach_every_branch_often(module: Any) -> None:
    counts: Counter[str] = Counter()
    for case in module.cases(random.Random("branches"), 2000):
        counts.update([case["branch"]] if isinstance(case["branch"], str) else case["branch"])
    assert len(counts) >= 10
    assert min(counts.values()) >= 5, counts


def outcomes_by_protocol() -> dict[str, dict[str, Any]]:
    """Each protocol's version, and the digest of its outcomes on 300 cases."""
    found = {}
    for module, benchmark, protocol, strict, _ in RULES:
        scorer = scorer_of(benchmark, protocol, strict)
        outcomes = [
            {name: [float(n), float(d)] for name, (n, d) in sorted(outcome.parts.items())}
            for _, outcome in judged(module, scorer, 300)
        ]
        found[scorer.protocol.id] = {"version": scorer.protocol.version, "outcomes": digest_of(outcomes)[:16]}
    return found


def test_a_changed_score_has_a_new_version() -> None:
    """Where this fails, raise ``version`` in the protocol's YAML, say what changed in docs/benchmarks.md, and run
    ``python -m tests.benchmarks.test_second``."""
    assert outcomes_by_protocol() == json.loads(VERSIONS.read_text(encoding="utf-8"))


if __name__ == "__main__":
    VERSIONS.write_text(json.dumps(outcomes_by_protocol(), indent=1, sort_keys=True) + "\n", encoding="utf-8")

"""The ablations: their configurations, comparisons, verdicts and page, from evaluations written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.folders import step
from tracer.config import Config, load
from tracer.experiments.ablation import (
    BASELINE,
    COMPARED,
    REFERENCE,
    VARIANTS,
    Variant,
    compare,
    configuration,
    record,
    select,
)
from tracer.experiments.ablation_page import write_page
from tracer.experiments.seeds import verdict
from tracer.lineage.digest import LineageError
from tracer.settings import ConfigError

CONFIG = Config.model_validate({"profile": "micro"})


def test_every_variant_is_a_valid_configuration_of_its_own() -> None:
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)
    for steps in (1, 2, 3, 5, 8, 10, 15):
        (overrides,) = (variant.overrides for variant in VARIANTS if variant.name == f"horizon-{steps}")
        assert overrides == (f"planner.horizon={steps}",)
    assert {"no-stage2", "no-repetition-penalty", "no-discount", "penalty-consecutive", "penalty-excess"} <= set(names)
    for variant in VARIANTS:
        config = configuration("micro", variant, seed=2)
        plain = load("micro")
        assert config.seed == 2 and config.build == f"{plain.build}/ablations/micro/{variant.name}"
        as_profile = config.model_copy(update={"seed": plain.seed, "build": plain.build})
        same = as_profile == plain
        assert same == (variant.name in ("no-stage2", "horizon-5")), variant.name
    assert configuration("micro", REFERENCE, seed=0).reward.penalty == "cumulative"  # the third of the penalties


def test_an_aggregation_reaches_trl() -> None:
    variant = next(variant for variant in VARIANTS if variant.name == "normalize-then-sum")
    assert configuration("micro", variant, 0).stage1.aggregation == "normalize_then_sum"
    assert load("micro").stage1.aggregation == "sum_then_normalize"


def test_unknown_names_are_refused() -> None:
    assert select([]) == list(VARIANTS)
    assert [variant.name for variant in select(["no-discount"])] == ["no-discount"]
    with pytest.raises(ConfigError, match="there are: no-stage2"):
        select(["no-such"])


STATES = 40
SEEN = {"reference": ["click", "type"], "forecast": ["click"], "remaining": 4}


def evaluation(folder: Path, values: list[float], **extra: Any) -> Path:
    rows = [
        {"trajectory": f"t/{index // 2}", "step_index": index % 2, **dict.fromkeys(COMPARED, value), **SEEN, **extra}
        for index, value in enumerate(values)
    ]
    return step("evaluate", CONFIG, folder, {"model": folder.parent / "model"}, {"results.jsonl": rows})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").write_text("weights")
    return tmp_path


def runs(folder: Path, variant: Variant, gains: list[float], **extra: Any) -> dict[tuple[str, str, int], Path]:
    """Evaluations in which the variant is better by a seed's gain in every state."""
    base = [0.5 if index % 2 else 0.25 for index in range(STATES)]
    found = {}
    for seed, gain in enumerate(gains):
        found[BASELINE, variant.against, seed] = evaluation(folder / f"base{seed}", base)
        ours = [value + gain for value in base]
        found[variant.name, variant.stage, seed] = evaluation(folder / f"{variant.name}{seed}", ours, **extra)
    return found


def test_a_comparison_by_hand(model: Path) -> None:
    variant = select(["no-discount"])[0]
    found = compare(variant, runs(model, variant, [-0.2, -0.1, -0.15]), seeds=3, resamples=200)
    measured = found["metrics"]["step"]
    assert measured["baseline"]["mean"] == pytest.approx(0.375)
    assert measured["variant"]["mean"] == pytest.approx(0.225)
    # Every state has the same difference once averaged over the seeds: no width is left.
    assert [measured["difference"][key] for key in ("low", "mean", "high")] == pytest.approx([-0.15] * 3)
    assert measured["difference"]["clusters"] == STATES // 2
    assert measured["seeds"] == pytest.approx([-0.2, -0.1, -0.15])
    assert found["verdict"] == "yes"
    assert found["remaining"]["3 to 5"]["difference"]["mean"] == pytest.approx(-0.15)
    assert found["remaining"]["over 10"]["difference"] is None
    assert len(found["outputs"]["variant"]) == 3


def test_what_nobody_can_score_is_said_to_be_so(model: Path) -> None:
    variant = select(["no-repetition-penalty"])[0]
    found = compare(variant, runs(model, variant, [0.0], repetition=None), seeds=1, resamples=50)
    assert found["verdict"] == "not scorable" and found["metrics"]["step"]["difference"] is not None


def test_other_states_are_refused(model: Path) -> None:
    variant = select(["no-discount"])[0]
    found = runs(model, variant, [0.0])
    found[variant.name, "stage1", 0] = evaluation(model / "short", [1.0] * (STATES - 1))
    with pytest.raises(LineageError, match="saw different cases"):
        compare(variant, found, seeds=1, resamples=50)


@pytest.mark.parametrize(
    ("sign", "low", "high", "seeds", "expected"),
    [
        (-1, -0.3, -0.1, [-0.2, -0.1], "yes"),
        (-1, 0.1, 0.3, [0.2, 0.1], "opposite"),
        (-1, -0.3, 0.1, [-0.2, -0.1], "not clear"),
        (-1, -0.3, -0.1, [-0.4, 0.1], "not clear"),  # one seed goes the other way
        (1, 0.1, 0.3, [0.2, 0.1], "yes"),
        (0, 0.1, 0.3, [0.2, 0.1], "more"),
        (0, -0.3, -0.1, [-0.2, -0.1], "less"),
        (0, -0.1, 0.1, [0.1, -0.1], "no clear difference"),
    ],
)
def test_verdicts(sign: int, low: float, high: float, seeds: list[float], expected: str) -> None:
    assert verdict(sign, {"difference": {"low": low, "high": high}, "seeds": seeds}) == expected


def test_results_are_kept_beside_each_other_and_shown(model: Path) -> None:
    results, page = model / "docs" / "ablations", model / "docs" / "ablations.md"
    for name, gains in (("no-discount", [0.1, 0.2]), ("horizon-1", [-0.2, -0.1]), ("horizon-10", [0.0, 0.01])):
        variant = select([name])[0]
        found = compare(variant, runs(model / name, variant, gains), seeds=2, resamples=50)
        path = record([found], "micro", 2, [], results)
    kept = json.loads(path.read_text())
    names = [found["name"] for found in kept["variants"]]
    assert names == ["horizon-1", "horizon-10", "no-discount"]  # the order of VARIANTS
    write_page(results, page)
    text = page.read_text()
    for expected in (
        "| T = 1 |",
        "**yes**",
        "**opposite**",
        "ablations/micro-differences.svg",
        "micro-horizon.svg",
        "| T = 10 | 2.00 | 1.00 |",
    ):
        assert expected in text, expected
    before = {path.name: path.read_bytes() for path in results.glob("*.svg")}
    assert len(before) == 2
    write_page(results, page)
    assert {path.name: path.read_bytes() for path in results.glob("*.svg")} == before
    path.write_text(json.dumps({**json.loads(path.read_text()), "note": "An old base."}))
    record([found], "micro", 2, [], results)
    write_page(results, page)
    assert "**An old base.**" in page.read_text()  # as long as something is there that it is about
    record([{**found, "name": name} for name in names], "micro", 2, [], results)
    assert "note" not in json.loads(path.read_text())
    with pytest.raises(LineageError, match="is of 2 seeds"):
        record([found], "micro", 3, [], results)
    with pytest.raises(LineageError, match="tracer ablate"):
        write_page(model / "empty", page)


@pytest.fixture(autouse=True)
def _models(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The comparisons of one test may lie in folders of their own, each with a model beside them."""
    for name in ("no-discount", "horizon-1", "horizon-10"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model").write_text("weights")

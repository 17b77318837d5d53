"""The benchmarks as Dagster assets: a partition a benchmark, checks that can fail, the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines import benchmarks
from pipelines.resources import Tracer
from tracer import plugins
from tracer.config import Config
from tracer.scoring import protocol as protocols


def test_every_benchmark_is_a_partition_with_a_protocol() -> None:
    assert benchmarks.partitions.get_partition_keys() == plugins.names(plugins.BENCHMARKS)
    assert all(protocols.load(name, protocols.default(name)).title for name in plugins.names(plugins.BENCHMARKS))


class Fixed(Tracer):
    build: str

    def config(self) -> Config:
        return Config(profile="micro", build=self.build)


def materialize(tmp_path: Path, partition: str, count: int) -> dg.ExecuteInProcessResult:
    data = tmp_path / "data" / partition
    data.mkdir(parents=True, exist_ok=True)
    rows = [{"id": f"q{n}", "goal": "?", "level": "1", "answer": "1"} for n in range(165)]
    (data / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:count]))
    (data / "predictions.jsonl").write_text(
        "".join(json.dumps({"id": f"q{n}", "native": "1"}) + "\n" for n in range(80))
    )
    settings = benchmarks.Benchmark(data=str(tmp_path / "data"), mlflow=False)
    return dg.materialize(
        [*benchmarks.assets, *benchmarks.checks],
        selection=dg.AssetSelection.assets(benchmarks.benchmark_results),
        resources={"tracer": Fixed(build=str(tmp_path / "build"))},
        partition_key=partition,
        run_config=dg.RunConfig({"benchmark_results": settings}),
        raise_on_error=False,
    )


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {found.check_name: found.passed for found in result.get_asset_check_evaluations()}


def test_a_partition_scores_what_a_runner_left_and_its_checks_pass(tmp_path: Path) -> None:
    result = materialize(tmp_path, "gaia", 165)
    assert result.success
    (made,) = result.asset_materializations_for_node("benchmark_results")
    metadata: dict[str, Any] = dict(made.metadata)
    assert metadata["items"].value == 165
    assert metadata["protocol"].value == "gaia/validation"
    assert checks_of(result) == {"item_count": True, "unparsable_share": True, "no_nan": True}


def test_a_part_of_the_items_fails_the_check(tmp_path: Path) -> None:
    result = materialize(tmp_path, "gaia", 80)
    assert result.success
    assert checks_of(result)["item_count"] is False


def test_nothing_to_score_is_a_clear_failure(tmp_path: Path) -> None:
    with pytest.raises(dg.Failure, match=r"Put items\.jsonl"):
        benchmarks.run_benchmark(
            Config(profile="micro", build=str(tmp_path)),
            "osworld",
            benchmarks.Benchmark(data=str(tmp_path), model="base"),
        )


@pytest.mark.parametrize(
    ("check", "change"),
    [
        ("item_count", {"items": {"complete": False, "scored": 1, "expected": 2}}),
        ("unparsable_share", {"unparsable_share": 0.2}),
        ("no_nan", {"figures": {"a": {"value": None}}}),
        ("no_nan", {"figures": {"a": {"value": 1.0}, "b": {"value": float("nan")}}}),
    ],
)
def test_each_check_can_fail(check: str, change: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "items": {"complete": True, "scored": 2, "expected": 2},
        "unparsable_share": 0.0,
        "primary": "a",
        "figures": {"a": {"value": 1.0}},
    }
    assert benchmarks.problem(check, good) == ""
    assert benchmarks.problem(check, good | change)


def test_the_comparison_asset_writes_the_table(tmp_path: Path) -> None:
    materialize(tmp_path, "gaia", 165)
    result = dg.materialize(
        benchmarks.assets,
        selection=dg.AssetSelection.assets(benchmarks.benchmark_comparison),
        resources={"tracer": Fixed(build=str(tmp_path / "build"))},
    )
    assert result.success
    text = (tmp_path / "build" / "micro" / "seed0" / "benchmarks.md").read_text()
    assert "| **micro** (ours) | 165 | 48.5 [" in text

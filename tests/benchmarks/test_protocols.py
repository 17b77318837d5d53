"""Protocols as data, the schemas of the file formats, and the table beside the published figures."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.benchmarks.test_second import MODULES
from tracer import package_data, plugins, schema
from tracer.plugins import PluginError
from tracer.scoring import protocol as protocols
from tracer.scoring import published
from tracer.scoring.contract import benchmark_class
from tracer.scoring.protocol import ProtocolError
from tracer.scoring.score import score

BENCHMARKS = plugins.names(plugins.BENCHMARKS)
EVERY = [(benchmark, name) for benchmark in BENCHMARKS for name in protocols.names(benchmark)]


@pytest.mark.parametrize(("benchmark", "name"), EVERY)
def test_every_protocol_is_whole(benchmark: str, name: str) -> None:
    rules = protocols.load(benchmark, name)
    benchmark_class(benchmark)(rules)
    assert rules.title and rules.items.set and rules.source and rules.match["rule"]
    assert rules.metrics[rules.primary].kind


def test_digests_are_distinct_and_stable() -> None:
    digests = {protocols.load(*which).digest for which in EVERY}
    assert len(digests) == len(EVERY)
    assert protocols.load("gaia", "validation").digest == protocols.load("gaia", "validation").digest
    assert protocols.load("gaia", "validation", strict=False).digest not in digests


def test_a_protocol_that_inherits_keeps_the_deviations() -> None:
    candidate = protocols.load("mind2web", "candidate-domain").deviations
    assert set(protocols.load("mind2web", "candidate-task").deviations) == set(candidate)
    assert len(candidate) == 3 and any("failed prediction" in line for line in candidate)
    assert set(protocols.load("gta", "step").deviations) < set(protocols.load("gta", "step-objective").deviations)


def test_published_counts() -> None:
    counts = {
        ("android_control", "p1-high-7708"): 7708,
        ("android_control", "p1-high-8444"): 8444,
        ("android_control", "p4-low"): 500,
        ("mind2web", "coordinate-task"): 1339,
        ("mind2web", "coordinate-website"): 1019,
        ("mind2web", "coordinate-domain"): 4060,
        ("gaia", "validation"): 165,
        ("gta", "end-to-end"): 229,
        ("android_world", "run-py"): 116,
        ("osworld", "verified-100"): 361,
        ("bfcl", "multi-turn"): 800,
        ("agentdojo", "utility"): 97,
    }
    assert {which: protocols.load(*which).items.count for which in counts} == counts


def test_unknown_names_say_what_there_is() -> None:
    with pytest.raises(ProtocolError, match="it has: validation"):
        protocols.load("gaia", "p9")
    with pytest.raises(PluginError, match="unknown benchmark 'chess'; there are: agentdojo"):
        protocols.load("chess", "p1")
    with pytest.raises(PluginError, match="android_control"):
        benchmark_class("chess")


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_schemas_are_those_of_the_models(benchmark: str) -> None:
    document = schema.schema(benchmark)
    assert {"item", "prediction"} <= set(document["$defs"])
    jsonschema.Draft202012Validator.check_schema(document)


@pytest.mark.parametrize("module", MODULES)
def test_rows_follow_the_schemas(module: Any) -> None:
    document = schema.schema(next(iter(module.RULES))[0])
    for case in module.cases(random.Random(0), 20):
        for kind in ("item", "prediction"):
            jsonschema.validate({"id": "i", **case[kind]}, {**document, "$ref": f"#/$defs/{kind}"})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"native": "no id"}, {**document, "$ref": "#/$defs/prediction"})


def test_every_published_figure_is_in_the_table_with_its_source() -> None:
    known = published.published()
    text = published.page({})
    document = yaml.safe_load(package_data.read("benchmarks/published.yaml"))
    assert sum(len(table["figures"]) for table in document["tables"]) == text.count("](http")
    for table in known.tables:
        for model, values in table.figures.items():
            lines = [line for line in text.splitlines() if line.startswith(f"| {model} |")]
            shown = [f"{value:.1f}" for value in values if value is not None]
            url = known.sources[table.source].url
            assert any(url in line and all(f" {figure} " in line for figure in shown) for line in lines), (model, table)


def test_our_scores_stand_under_their_protocol(tmp_path: Path) -> None:
    items, predictions = tmp_path / "i.jsonl", tmp_path / "p.jsonl"
    items.write_text(json.dumps({"id": "a", "goal": "?", "level": "1", "answer": "1"}))
    predictions.write_text(json.dumps({"id": "a", "native": "1"}))
    score("gaia", "validation-level1", items, predictions, tmp_path / "s", resamples=5)
    score("gaia", "validation-level1", items, predictions, tmp_path / "l", strict=False, resamples=5)
    text = published.page({"tiny: a": tmp_path / "s", "loose: a": tmp_path / "l"})
    assert (
        "| **tiny** (ours) | 1 of 53 | 100.0 [100.0, 100.0] | this project; a part of the items: not comparable |"
        in text
    )
    assert "| **loose** (ours) | 1 of 53 | 100.0 [100.0, 100.0] | this project; lenient;" in text

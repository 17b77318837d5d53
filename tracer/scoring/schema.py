"""The JSON schemas of the two file formats, one file a benchmark, written from the models that read the files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tracer.benchmarks.names import BENCHMARKS
from tracer.scoring.contract import benchmark_class

FOLDER = Path(__file__).parents[1] / "benchmarks" / "schemas"


def schema(benchmark: str) -> dict[str, Any]:
    """``$defs/item`` and ``$defs/prediction``: a line of items.jsonl and of predictions.jsonl."""
    scorer = benchmark_class(benchmark)
    definitions: dict[str, Any] = {}
    for name, model in (("item", scorer.item_model), ("prediction", scorer.prediction_model)):
        made = model.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= made.pop("$defs", {})
        definitions[name] = made
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"{benchmark}: a line of items.jsonl (item) and of predictions.jsonl (prediction)",
        "$defs": dict(sorted(definitions.items())),
    }


def text(benchmark: str) -> str:
    return json.dumps(schema(benchmark), indent=2, ensure_ascii=False) + "\n"


def write() -> None:
    """Write every schema; run after a change of an item or a prediction: ``python -m tracer.scoring.schema``."""
    for benchmark in BENCHMARKS:
        (FOLDER / f"{benchmark}.json").write_text(text(benchmark), encoding="utf-8")


if __name__ == "__main__":
    write()

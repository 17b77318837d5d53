"""``tracer score``: predictions of any model against a benchmark's items, by a named protocol, without a model.

Streams: items are read once, each prediction when its item comes. Writes

- ``results.jsonl``: every item's outcome, in the items' order;
- ``failures.jsonl``: the items that failed before their answer was judged, and why;
- ``scores.json``: figures with 95 % intervals, breakdowns, counts, the protocol and its digest.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracer import json_lines, plugins
from tracer.json_files import write_json
from tracer.lineage.digest import file_digest
from tracer.lineage.step import run_step
from tracer.scoring import protocol as protocols
from tracer.scoring.aggregate import Tally, summary
from tracer.scoring.contract import (
    Benchmark,
    BenchmarkError,
    NotGiven,
    Outcome,
    Row,
    Unparsable,
    benchmark_class,
    printable,
)
from tracer.scoring.files import Malformed, Predictions
from tracer.scoring.files import items as read_items
from tracer.settings import ConfigError

RESULTS, FAILURES, SUMMARY = "results.jsonl", "failures.jsonl", "scores.json"
DETAIL = 500  # characters of a reason that are kept
log = logging.getLogger(__name__)


def score(
    benchmark: str,
    protocol: str,
    items: Path | None,
    predictions: Path,
    out: Path,
    strict: bool = True,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Score a file of predictions, or a runner's folder of results, and return the step's lineage.

    ``items`` may be None for a benchmark whose item list comes with the project or its package. ``strict=False`` passes
    empty predictions where the original does; it is another protocol digest. Raises ``BenchmarkError``,
    ``ProtocolError``.
    """
    if not predictions.exists():
        raise NotGiven(
            f"{predictions} does not exist; --predictions names a predictions.jsonl, or the folder of results that the "
            f"benchmark's own runner wrote"
        )
    if items is not None and not items.is_file():
        raise NotGiven(f"{items} is not a file; --items names an items.jsonl (docs/benchmarks.md, Items)")
    rules = protocols.load(benchmark, protocol, None if strict else False)
    scorer = benchmark_class(benchmark)(rules)
    inputs = {"predictions": predictions} | ({"items": items} if items is not None else {})

    def body(folder: Path) -> Mapping[str, Any]:
        return score_into(folder, scorer, items, predictions, resamples, seed)

    return run_step(
        f"score-{benchmark}",
        config={"protocol": rules.model_dump(mode="json"), "resamples": resamples},
        inputs=inputs,
        out=out,
        module=__name__,
        plugins=[plugins.module_of(plugins.BENCHMARKS, benchmark)],
        body=body,
        seed=seed,
    )


def score_into(
    folder: Path,
    scorer: Benchmark,
    items: Path | None,
    predictions: Path,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The body of the step; returns the headline metrics."""
    if predictions.is_dir():
        predictions = json_lines.write(folder / "predictions.jsonl", scorer.results(predictions))
    if items is None:
        items = json_lines.write(folder / "items.jsonl", scorer.own_items())
    rules = scorer.protocol
    tally = Tally(rules)
    given = Predictions(predictions, scorer.prediction_model)
    try:
        with open(folder / RESULTS, "wb") as results, open(folder / FAILURES, "wb") as failures:
            for item in read_items(items, scorer.item_model):
                outcome = judge(scorer, item, given)
                tally.add(outcome)
                line = json_lines.one(_line(item, outcome))
                results.write(line)
                if outcome.reason:
                    failures.write(line)
        given.refuse_rest()
    finally:
        given.close()
    if not tally.items:
        raise BenchmarkError(f"{items} contains no items")
    scores = summary(tally, file_digest(items), resamples, seed) | {"ignored_fields": dict(given.ignored)}
    write_json(folder / SUMMARY, scores)
    figure = scores["figures"][rules.primary]["value"]
    return {rules.primary: figure, "items": tally.items, "failed": sum(tally.reasons.values())}


def judge(scorer: Benchmark, item: Row, given: Predictions) -> Outcome:
    """The outcome of one item; what cannot be judged fails, with its reason. Every route of every protocol ends here.

    Raises ``BenchmarkError`` or ``ConfigError`` where none could be judged: a missing package, model or task.
    """
    try:
        prediction = given.take(item.id)
        if prediction is None:
            return _failed(scorer, item, "missing", "no prediction")
        if prediction.error is not None:
            return _failed(scorer, item, "crashed", prediction.error)
        return scorer.outcome(item, prediction)
    except (BenchmarkError, ConfigError):
        raise
    except Malformed as error:
        return _failed(scorer, item, "malformed", str(error))
    except Unparsable as error:
        return _failed(scorer, item, "unparsable", str(error))
    except Exception as error:  # predictions are anybody's: what a rule did not expect fails its item, not the run
        log.debug("the prediction of %s could not be judged", item.id, exc_info=True)
        return _failed(scorer, item, "unparsable", f"{type(error).__name__}: {error}")


def _failed(scorer: Benchmark, item: Row, reason: str, detail: str) -> Outcome:
    return replace(scorer.outcome(item, None), reason=reason, detail=printable(detail[:DETAIL]))


def _line(item: Row, outcome: Outcome) -> dict[str, Any]:
    # A hit may be a bool; what is stored is a number.
    parts = {name: (numerator + 0, denominator + 0) for name, (numerator, denominator) in outcome.parts.items()}
    line: dict[str, Any] = {"id": item.id, "cluster": outcome.cluster, "parts": parts}
    if outcome.stratum:
        line["stratum"] = outcome.stratum
    if outcome.reason:
        line |= {"reason": outcome.reason, "detail": outcome.detail}
    return line

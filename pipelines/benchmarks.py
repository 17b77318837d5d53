"""The benchmarks: one asset, a static partition a benchmark, its checks, and the table beside the published figures.

A partition runs the planner where it can run here (MiniWoB++, AgentDojo, BFCL, and the offline benchmarks whose items
lie under ``data``), and scores what another runner left (``predictions.jsonl`` or ``results/``) where one is there.
Definitions take ``assets`` and ``checks``; jobs over everything leave the group ``benchmarks`` out, for a partitioned
asset needs a partition.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import steps
from pipelines.resources import GPU_TAGS, Tracer
from tracer import flow, plugins
from tracer.config import Config
from tracer.flow import benchmark_folder
from tracer.lineage.digest import finished
from tracer.registry.scores import log_score
from tracer.scoring import files, published
from tracer.scoring.contract import BenchmarkError
from tracer.scoring.paired import read_summary
from tracer.scoring.protocol import default
from tracer.scoring.score import score
from tracer.stages import MODELS

GROUP = "benchmarks"
OWNERS = ["team:evaluation"]
BENCHMARKS = plugins.names(plugins.BENCHMARKS)
partitions = dg.StaticPartitionsDefinition(BENCHMARKS)


class Benchmark(dg.Config):
    """The settings of a run of a partition."""

    protocol: str | None = None
    """A protocol of the benchmark; None takes the primary one."""
    model: str = MODELS[-1]
    """A planner of the flow, a folder, or a registered model such as tracer-planner@challenger."""
    data: str = "data/benchmarks"
    """Where items are: ``<data>/<benchmark>/items.jsonl``, and beside it what a runner wrote."""
    mlflow: bool = True
    """Log the score to MLflow, against the model where it is a registered one."""


def scored(config: Config) -> dict[str, Path]:
    """The folders of the partitions that have a score, by benchmark."""
    folders = {name: benchmark_folder(config, name) for name in BENCHMARKS}
    return {name: path for name, path in folders.items() if finished(path) is not None}


def run_benchmark(config: Config, benchmark: str, settings: Benchmark) -> dict[str, Any]:
    """Score what a runner wrote, or evaluate the planner; the lineage. Raises ``dg.Failure`` if neither is possible."""
    given = Path(settings.data) / benchmark
    items, left = files.given(given)
    name, out = settings.protocol or default(benchmark), benchmark_folder(config, benchmark)
    if left is not None:
        return score(benchmark, name, items, left, out)
    try:
        return flow.benchmark(config, benchmark, name, settings.model, out, items=items)
    except BenchmarkError as error:
        raise dg.Failure(
            f"{error}. Put items.jsonl, or a runner's predictions.jsonl or results/, into {given}", allow_retries=False
        ) from error


@dg.asset(
    name="benchmark_results",
    partitions_def=partitions,
    deps=[dg.AssetKey(MODELS[-1])],
    group_name=GROUP,
    kinds={"json"},
    owners=OWNERS,
    tags={"domain": "evaluation", "cost": "gpu"},
    code_version=steps.code_version("tracer.scoring.evaluate"),
    pool="gpu",
    op_tags=GPU_TAGS,
)
def benchmark_results(
    context: dg.AssetExecutionContext, config: Benchmark, tracer: Tracer
) -> dg.MaterializeResult[Any]:
    """One benchmark's score by its named protocol: figures with intervals, breakdowns, every item's outcome."""
    settings, since = tracer.config(), datetime.now(UTC)
    benchmark = context.partition_key
    done = run_benchmark(settings, benchmark, config)
    out = benchmark_folder(settings, benchmark)
    summary = read_summary(out)
    extra: dict[str, Any] = {
        "protocol": summary["protocol"],
        "protocol_digest": summary["protocol_digest"],
        "items": summary["items"]["scored"],
        "failed": dg.MetadataValue.json(summary["failed"]),
        "figures": dg.MetadataValue.table(_rows(summary)),
    }
    if config.mlflow:
        extra["mlflow_run"] = log_score(settings, out, config.model if flow.is_registered(config.model) else None)
    return steps.made(settings, out, done, since, **extra)


def _rows(summary: dict[str, Any]) -> list[dg.TableRecord]:
    return [
        dg.TableRecord(
            {
                "metric": name,
                "value": "none" if figure["value"] is None else f"{figure['value']:.4f}",
                "interval": "none" if not figure["interval"] else "{:.4f} to {:.4f}".format(*figure["interval"]),
            }
        )
        for name, figure in summary["figures"].items()
    ]


@dg.asset(
    name="benchmark_comparison",
    deps=[dg.AssetDep(benchmark_results, partition_mapping=dg.AllPartitionMapping())],
    group_name=GROUP,
    kinds={"markdown"},
    owners=OWNERS,
    tags={"domain": "evaluation", "cost": "cheap"},
    code_version=steps.code_version("tracer.scoring.published"),
)
def benchmark_comparison(tracer: Tracer) -> dg.MaterializeResult[Any]:
    """Our scores beside the published ones, protocol by protocol, with row counts and sources."""
    config = tracer.config()
    found = scored(config)
    text = published.page({f"{config.profile}: {name}": path for name, path in found.items()})
    path = config.out("benchmarks.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return dg.MaterializeResult(metadata={"table": dg.MetadataValue.md(text), "scores": len(found), "path": str(path)})


CHECKS = ("item_count", "unparsable_share", "no_nan")
MOST_UNPARSABLE = 0.05


@dg.multi_asset_check(
    name="benchmark_checks",
    specs=[dg.AssetCheckSpec(name, asset=benchmark_results) for name in CHECKS],
)
def benchmark_checks(tracer: Tracer) -> Any:
    """Over every partition scored so far: all items, few unparsable answers, and no figure that is not one."""
    summaries = {name: read_summary(path) for name, path in scored(tracer.config()).items()}
    for name in CHECKS:
        wrong = {key: reason for key, summary in summaries.items() if (reason := problem(name, summary))}
        yield dg.AssetCheckResult(
            check_name=name,
            asset_key=benchmark_results.key,
            passed=not wrong and bool(summaries),
            severity=dg.AssetCheckSeverity.WARN if name == "unparsable_share" else dg.AssetCheckSeverity.ERROR,
            description="; ".join(f"{key}: {reason}" for key, reason in wrong.items()) or f"{len(summaries)} scores",
            metadata={"scores": len(summaries), "wrong": dg.MetadataValue.json(wrong)},
        )


def problem(check: str, summary: dict[str, Any]) -> str:
    """Why a score does not pass a check; empty if it does."""
    items = summary["items"]
    if check == "item_count":
        return "" if items["complete"] else f"{items['scored']} items, the protocol has {items['expected']}"
    if check == "unparsable_share":
        share = summary["unparsable_share"]
        return "" if share <= MOST_UNPARSABLE else f"{share:.1%} of the answers could not be read"
    figures = json.dumps({name: figure["value"] for name, figure in summary["figures"].items()})
    primary = summary["figures"][summary["primary"]]["value"]
    return "" if primary is not None and "NaN" not in figures and "Infinity" not in figures else f"figures: {figures}"


assets: list[dg.AssetsDefinition] = [benchmark_results, benchmark_comparison]
checks: list[dg.AssetChecksDefinition] = [benchmark_checks]

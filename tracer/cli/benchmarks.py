"""The commands of the benchmarks: evaluate BENCHMARK, score, protocols, items, compare, published."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracer import plugins
from tracer.cli.common import PLANNERS, Command, Count, Out, Result
from tracer.config import Config

Benchmark = StrEnum("Benchmark", {name: name for name in plugins.names(plugins.BENCHMARKS)})  # type: ignore[misc]
Protocol = Annotated[str, typer.Option(help="A name listed by `tracer protocols BENCHMARK`.")]
Items = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="items.jsonl; by default the benchmark's own list.")
]
Lenient = Annotated[bool, typer.Option("--lenient", help="Accept empty predictions where the original does.")]


def evaluation_of(benchmark: str) -> Command:
    """The command that lets a planner answer a benchmark."""

    def evaluate(
        config: Config,
        protocol: Protocol,
        model: Annotated[str, typer.Option(help=f"The planner: {PLANNERS}; or demonstrators.")],
        items: Items = None,
        images: Annotated[Path | None, typer.Option(exists=True, help="By default the folder of --items.")] = None,
        out: Out = None,
        lenient: Lenient = False,
        batch: Annotated[int, typer.Option(min=1, help="Items per call of the planner.")] = 8,
        concurrency: Count = 1,
        seconds: Annotated[float, typer.Option(help="Time-out of a batch.")] = 600.0,
    ) -> Result:
        from tracer import flow
        from tracer.scoring.run import Limits

        out = out or flow.benchmark_folder(config, benchmark, protocol, model)
        limits = Limits(batch=batch, concurrency=concurrency, seconds=seconds)
        flow.benchmark(
            config, benchmark, protocol, model, out, items=items, images=images, strict=not lenient, limits=limits
        )
        return _scored(out)

    evaluate.__doc__ = f"""Let a planner answer the items of {benchmark}, then score it.

    Example: tracer evaluate {benchmark} --protocol PROTOCOL --model tracer-planner@champion
    """
    evaluate.__name__ = benchmark
    return evaluate


def score(
    benchmark: Benchmark,
    protocol: Protocol,
    predictions: Annotated[Path, typer.Option(help="predictions.jsonl, or a runner's folder of results.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="The output folder.")],
    items: Items = None,
    lenient: Lenient = False,
) -> Result:
    """Score the predictions of any model, without a model or a GPU. Exits 1 if none of them could be judged.

    Both files are JSON lines. A prediction has the id of its item and one of: native (the answer in the protocol's own
    form), action (tracer's), text with convention (a model's raw output), error (why there is none). `tracer schema
    BENCHMARK` prints the fields of items and predictions; docs/benchmarks.md explains them.

    Example: tracer score gaia --protocol validation --items items.jsonl --predictions predictions.jsonl --out scored
    """
    from tracer.scoring.score import score

    score(benchmark, protocol, items, predictions, out, strict=not lenient)
    scored = _scored(out)
    judged = scored.data["items"]["scored"] - sum(scored.data["failed"].values())
    return replace(scored, ok=judged > 0)


def _scored(out: Path) -> Result:
    """A score's figures."""
    from tracer.scoring.paired import read_summary

    summary = read_summary(out)
    lines = [f"{summary['protocol']} ({summary['protocol_digest'][:12]}): {summary['items']['scored']} items"]
    for name, figure in summary["figures"].items():
        value = "none" if figure["value"] is None else f"{figure['value']:.4f}"
        interval = " [{:.4f}, {:.4f}]".format(*figure["interval"]) if figure["interval"] else ""
        lines.append(f"  {name:20} {value}{interval}")
    for reason, count in summary["failed"].items():
        lines.append(f"  {count} items failed: {reason} ({out / 'failures.jsonl'} lists them)")
        lines.append(f"    the first: {summary['first_failures'][reason][:200]}")
    for name, count in summary["ignored_fields"].items():
        lines.append(f"  {count} predictions have a field {name!r}, which is not read")
    if not summary["items"]["complete"]:
        lines.append(f"  not comparable: the protocol has {summary['items']['expected']} items")
    return Result(data={"out": str(out), **summary}, text="\n".join(lines))


def protocols(
    benchmark: Annotated[Benchmark | None, typer.Argument(help="Only this benchmark's.")] = None,
    protocol: Annotated[str | None, typer.Argument(help="This one, with all its rules.")] = None,
) -> Result:
    """List the protocols, or show one with all its rules.

    Example: tracer protocols android_control p1-high-7708
    """
    from tracer.scoring import protocol as rules_of

    chosen = [benchmark] if benchmark else plugins.names(plugins.BENCHMARKS)
    rules = [
        rules_of.load(each, name) for each in chosen for name in ([protocol] if protocol else rules_of.names(each))
    ]
    data = [{"digest": each.digest, **each.model_dump(mode="json")} for each in rules]
    if protocol:
        return Result(data=data[0])
    line = "{0.benchmark:16} {0.name:22} {1:>6}  {0.digest:.12}  {0.title}".format
    return Result(data=data, text="\n".join(line(each, each.items.count or "?") for each in rules))


def items(
    benchmark: Benchmark, protocol: Protocol, out: Annotated[Path, typer.Option(dir_okay=False, help="The file.")]
) -> Result:
    """Write the item list that comes with a benchmark.

    Example: tracer items osworld --protocol verified-50 --out items.jsonl
    """
    from tracer import json_lines
    from tracer.scoring import protocol as rules_of
    from tracer.scoring.contract import benchmark_class

    rules = rules_of.load(benchmark, protocol)
    json_lines.write(out, benchmark_class(benchmark)(rules).own_items())
    return Result(data={"out": str(out)}, text=str(out))


def compare(
    ours: Annotated[Path, typer.Argument(exists=True)],
    theirs: Annotated[Path, typer.Argument(exists=True)],
    metric: Annotated[str | None, typer.Option(help="By default the protocol's primary one.")] = None,
) -> Result:
    """Compare two scores on the same items, item by item.

    Example: tracer compare scored/ours scored/theirs
    """
    from tracer.scoring import paired

    return Result(data=paired.compare(ours, theirs, metric))


def published(
    scores: Annotated[list[str], typer.Argument(metavar="NAME=FOLDER", help="Finished scores of ours.")] = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="A Markdown file; by default the table is printed.")
    ] = None,
) -> Result:
    """Make the table of our scores beside the published ones, as Markdown.

    Example: tracer published tiny=build/scored --out table.md
    """
    from tracer.scoring.published import page

    wrong = [given for given in scores if "=" not in given]
    if wrong:
        raise typer.BadParameter(f"a score is given as NAME=FOLDER, not {wrong[0]!r}")
    text = page({name: Path(folder) for name, folder in (given.split("=", 1) for given in scores)})
    if out:
        out.write_text(text, encoding="utf-8")
    return Result(data={"table": text}, text=str(out) if out else text)


EVALUATE = tuple(map(evaluation_of, plugins.names(plugins.BENCHMARKS)))
COMMANDS = (score, protocols, items, compare, published)

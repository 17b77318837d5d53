"""The subcommands of the benchmarks: evaluate BENCHMARK, score, protocols, items, compare, published."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracer.benchmarks.names import BENCHMARKS
from tracer.cli.common import PLANNERS

Handler = Callable[[argparse.Namespace], int]


def register(commands: Any, evaluate: Any) -> None:
    """Add them to the command line's subparsers, and each benchmark to those of ``evaluate``; imports nothing heavy."""
    score = _add(commands, "score", "score any model's predictions, without a model or a GPU", _score)
    score.add_argument("benchmark", choices=BENCHMARKS)
    score.add_argument("--protocol", required=True, help="a name of `tracer protocols BENCHMARK`")
    score.add_argument("--items", type=Path, help="items.jsonl (default: the benchmark's own list, where it has one)")
    score.add_argument("--predictions", type=Path, required=True, help="predictions.jsonl, or a runner's result folder")
    score.add_argument("--out", type=Path, required=True)
    score.add_argument("--lenient", action="store_true", help="pass empty predictions where the original does")

    for name in BENCHMARKS:
        _add_benchmark(evaluate, name)

    protocols = _add(commands, "protocols", "the protocols, or one of them with all its rules", _protocols)
    protocols.add_argument("benchmark", nargs="?", choices=BENCHMARKS)
    protocols.add_argument("protocol", nargs="?")

    items = _add(commands, "items", "write a benchmark's own item list", _items)
    items.add_argument("benchmark", choices=BENCHMARKS)
    items.add_argument("--protocol", required=True)
    items.add_argument("--out", type=Path, required=True)

    compare = _add(commands, "compare", "the paired difference of two scores on the same items", _compare)
    compare.add_argument("ours", type=Path)
    compare.add_argument("theirs", type=Path)
    compare.add_argument("--metric", help="default: the protocol's primary one")

    published = _add(
        commands, "published", "the table of our scores beside the published ones, as Markdown", _published
    )
    published.add_argument("scores", nargs="*", metavar="NAME=FOLDER", help="finished scores of ours")
    published.add_argument("--out", type=Path)


def _add_benchmark(evaluate: Any, name: str) -> None:
    benchmark = _add(evaluate, name, f"let a planner answer the items of {name}, then score it", _benchmark)
    benchmark.set_defaults(benchmark=name)
    benchmark.add_argument("--protocol", required=True)
    benchmark.add_argument("--model", required=True, help=f"{PLANNERS}, or demonstrators")
    benchmark.add_argument("--items", type=Path)
    benchmark.add_argument("--images", type=Path, help="the folder of the items' images (default: that of --items)")
    benchmark.add_argument("--out", type=Path)
    benchmark.add_argument("--lenient", action="store_true")
    benchmark.add_argument("--batch", type=int, default=8, help="items a call of the planner")
    benchmark.add_argument("--concurrency", type=int, default=1)
    benchmark.add_argument("--seconds", type=float, default=600.0, help="time-out of a batch")
    benchmark.add_argument("--profile", help="a profile of params.yaml")
    benchmark.add_argument("--seed", type=int)
    benchmark.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")


def _add(commands: Any, name: str, help: str, handler: Handler) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    command.set_defaults(handler=handler)
    return command


def _score(arguments: argparse.Namespace) -> int:
    from tracer.scoring.score import score

    score(
        arguments.benchmark, arguments.protocol, arguments.items, arguments.predictions, arguments.out,
        strict=not arguments.lenient,
    )  # fmt: skip
    return _show(arguments.out)


def _benchmark(arguments: argparse.Namespace) -> int:
    from tracer import flow
    from tracer.config import load
    from tracer.scoring.run import Limits

    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    config = load(arguments.profile, [*arguments.overrides, *seed])
    out = arguments.out or flow.benchmark_folder(config, arguments.benchmark, arguments.protocol, arguments.model)
    limits = Limits(batch=arguments.batch, concurrency=arguments.concurrency, seconds=arguments.seconds)
    flow.benchmark(
        config, arguments.benchmark, arguments.protocol, arguments.model, out, items=arguments.items,
        images=arguments.images, strict=not arguments.lenient, limits=limits,
    )  # fmt: skip
    return _show(out)


def _show(out: Path) -> int:
    """Print a score's figures."""
    from tracer.scoring.paired import read_summary

    summary = read_summary(out)
    print(f"{summary['protocol']} ({summary['protocol_digest'][:12]}): {summary['items']['scored']} items")
    for name, figure in summary["figures"].items():
        value = "none" if figure["value"] is None else f"{figure['value']:.4f}"
        interval = " [{:.4f}, {:.4f}]".format(*figure["interval"]) if figure["interval"] else ""
        print(f"  {name:20} {value}{interval}")
    for reason, count in summary["failed"].items():
        print(f"  {count} items failed: {reason} (failures.jsonl lists them)")
    if not summary["items"]["complete"]:
        print(f"  not comparable: the protocol has {summary['items']['expected']} items")
    return 0


def _protocols(arguments: argparse.Namespace) -> int:
    from tracer.scoring import protocol

    if arguments.protocol:
        rules = protocol.load(arguments.benchmark, arguments.protocol)
        print(json.dumps({"digest": rules.digest, **rules.model_dump(mode="json")}, indent=2, ensure_ascii=False))
        return 0
    for benchmark in [arguments.benchmark] if arguments.benchmark else BENCHMARKS:
        for name in protocol.names(benchmark):
            rules = protocol.load(benchmark, name)
            print(f"{benchmark:16} {name:22} {rules.items.count or '?':>6}  {rules.digest[:12]}  {rules.title}")
    return 0


def _items(arguments: argparse.Namespace) -> int:
    from tracer import json_lines
    from tracer.scoring import protocol
    from tracer.scoring.contract import benchmark_class

    rules = protocol.load(arguments.benchmark, arguments.protocol)
    json_lines.write(arguments.out, benchmark_class(arguments.benchmark)(rules).own_items())
    print(arguments.out)
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from tracer.scoring.paired import compare

    print(json.dumps(compare(arguments.ours, arguments.theirs, arguments.metric), indent=2))
    return 0


def _published(arguments: argparse.Namespace) -> int:
    from tracer.scoring.published import comparison

    scores = {}
    for given in arguments.scores:
        name, equals, folder = given.partition("=")
        if not equals:
            print(f"tracer: a score is given as NAME=FOLDER, not {given!r}", file=sys.stderr)
            return 2
        scores[name] = Path(folder)
    text = comparison(scores)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0

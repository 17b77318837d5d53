"""Record, ingest, mix and validate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tracer.cli.common import command, config_of, done, positive, run_step
from tracer.settings import ConfigError


def add(commands: Any) -> None:
    record = command(
        commands, "record", "record scripted demonstrations on MiniWoB++ pages in Chromium", _record, profile=False
    )
    record.add_argument(
        "--pages", required=True, help="page names, separated by commas, or one of the groups base, rl, heldout"
    )
    record.add_argument("--split", required=True, choices=("train", "validation", "test", "heldout"))
    record.add_argument("--first-seed", type=int, default=1000)
    record.add_argument("--episodes", type=positive, default=40, help="episodes a page")
    record.add_argument("--out", type=Path, required=True)
    record.add_argument("--workers", type=positive, default=1)

    ingest = command(
        commands, "ingest", "raw episodes, or a published data set, into canonical Parquet shards", _ingest
    )
    ingest.add_argument("source", nargs="?", help="an adapter of tracer/sources (default: data.source)")
    ingest.add_argument("path", nargs="?", type=Path, help="where it lies (default: data.path)")
    ingest.add_argument("--out", type=Path)
    ingest.add_argument("--workers", type=positive, default=1, help="parts of the data set ingested side by side")
    ingest.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the adapter")
    ingest.add_argument("--check", action="store_true", help="read everything, write nothing, list what is wrong")

    mix = command(commands, "mix", "the sources of `mixture`, weighted, filtered and split, as one data set", _mix)
    mix.add_argument("--out", type=Path)

    validate = command(commands, "validate", "hold the shards against the Great Expectations suite", _validate)
    validate.add_argument("--out", type=Path)


def _record(arguments: argparse.Namespace) -> int:
    from tracer.environments import pages
    from tracer.environments.record import record

    names = {"base": pages.BASE, "rl": pages.RL, "heldout": pages.HELDOUT}.get(
        arguments.pages
    ) or arguments.pages.split(",")
    for summary in record(
        names,
        range(arguments.first_seed, arguments.first_seed + arguments.episodes),
        arguments.out,
        arguments.split,
        workers=arguments.workers,
    ):
        print(summary)
    return 0


def _ingest(arguments: argparse.Namespace) -> int:
    if arguments.source:
        return _ingest_source(arguments)
    if arguments.check:
        raise ConfigError("--check is for a data set of its own; say which: `tracer ingest SOURCE PATH --check`")
    return run_step(arguments, "ingest")


def _ingest_source(arguments: argparse.Namespace) -> int:
    from tracer.ingestion.assembly import ingest_source
    from tracer.ingestion.check import check
    from tracer.ingestion.parts import parsed_options

    if arguments.path is None:
        raise ConfigError("ingest SOURCE needs the PATH of the data set too")
    options = parsed_options(arguments.option)
    if arguments.check:
        found = check(arguments.source, arguments.path, options)
        print(*found.problems, sep="\n")
        return int(found.rejected > 0)
    out = arguments.out or Path("build/sources") / arguments.source
    progress = sys.stderr.isatty()
    lineage = ingest_source(
        arguments.source, arguments.path, out, options=options, workers=arguments.workers, progress=progress
    )
    return done(lineage, out)


def _mix(arguments: argparse.Namespace) -> int:
    from tracer.ingestion.mixture import mix

    config = config_of(arguments)
    out = arguments.out or config.out("mixture")
    return done(mix(config.mixture, out), out)


def _validate(arguments: argparse.Namespace) -> int:
    return run_step(arguments, "validate")

"""Record, ingest, mix and validate."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracer import plugins
from tracer.cli.common import Count, Out, Result, finished, run_step
from tracer.config import Config
from tracer.settings import ConfigError
from tracer.trajectory import SPLITS

Split = StrEnum("Split", {name: name for name in SPLITS})  # type: ignore[misc]


def record(
    pages: Annotated[str, typer.Option(help="Page names separated by commas, or a group: base, rl, heldout.")],
    split: Annotated[Split, typer.Option()],
    out: Annotated[Path, typer.Option(help="The folder to record into.")],
    first_seed: int = 1000,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per page.")] = 40,
    workers: Count = 1,
) -> Result:
    """Record scripted demonstrations on MiniWoB++ pages in Chromium.

    Example: tracer record --pages login-user --split train --out my-episodes
    """
    from tracer.environments import pages as groups
    from tracer.environments import record as recording

    known = {"base": groups.BASE, "rl": groups.RL, "heldout": groups.HELDOUT}
    names = known.get(pages) or pages.split(",")
    seeds = range(first_seed, first_seed + episodes)
    summaries = recording.record(names, seeds, out, split, workers=workers)
    return Result(data=list(summaries), text="\n".join(map(str, summaries)))


def ingest(
    config: Config,
    source: Annotated[str | None, typer.Argument(help="A source; by default the profile's data.source.")] = None,
    path: Annotated[
        Path | None, typer.Argument(exists=True, help="Where it is; by default the profile's data.path.")
    ] = None,
    out: Out = None,
    workers: Annotated[int, typer.Option(min=1, help="Parts of the data set to ingest in parallel.")] = 1,
    option: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="An option of the source.")] = [],  # noqa: B006
    check: Annotated[bool, typer.Option("--check", help="Read everything, write nothing, list what is wrong.")] = False,
) -> Result:
    """Ingest raw episodes, or a published data set, into canonical Parquet shards.

    Example: tracer ingest agentnet data/agentnet --out build/sources/agentnet --workers 2
    """
    from tracer.ingestion.ingest import check as checked
    from tracer.ingestion.ingest import ingest_source
    from tracer.ingestion.parts import parsed_options
    from tracer.ingestion.settings import DataConfig

    if source is None:
        if check:
            raise ConfigError("--check needs a data set: `tracer ingest SOURCE PATH --check`")
        return run_step(config, "ingest", out)
    if path is None:
        raise ConfigError("ingest SOURCE also needs the PATH of the data set")
    plugins.find(plugins.SOURCES, source)  # an unknown one is named before anything else is looked at
    data = DataConfig(source=source, path=str(path), options=parsed_options(option), workers=workers, pointer="")
    if check:
        found = checked(data)
        wrong = [*found["problems"], *found.get("warnings", ())]
        text = "\n".join(wrong) or f"{found['trajectories']} trajectories, and nothing wrong with them"
        return Result(data=found, text=text, ok=not found["rejected"])
    out = out or Path("build/sources") / source
    return finished(lambda: ingest_source(data, out, progress=sys.stderr.isatty()), out)


def mix(config: Config, out: Out = None) -> Result:
    """Combine the sources of `mixture`, weighted, filtered and split, into one data set.

    Example: tracer mix --profile tiny --out build/mixture
    """
    from tracer.ingestion import mixture

    out = out or config.out("mixture")
    return finished(lambda: mixture.mix(config.mixture, out), out)


def validate(config: Config, out: Out = None) -> Result:
    """Check the shards with the Great Expectations suite.

    Example: tracer validate --profile demo
    """
    return run_step(config, "validate", out)


COMMANDS = (record, ingest, mix, validate)

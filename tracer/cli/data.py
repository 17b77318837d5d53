"""Record, ingest, mix and validate."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tracer import plugins
from tracer.cli.common import Count, Interrupted, Out, Result, finished, run_step
from tracer.config import Config
from tracer.settings import ConfigError
from tracer.trajectory import SPLITS

Split = StrEnum("Split", {name: name for name in SPLITS})  # type: ignore[misc]


def record(
    url: Annotated[
        str | None, typer.Option(help="A page of your own, to demonstrate on in a window. F9 ends it.")
    ] = None,
    goal: Annotated[str | None, typer.Option(help="With --url: what is done there, in words.")] = None,
    pages: Annotated[
        str | None, typer.Option(help="MiniWoB++ pages separated by commas, or a group: base, rl, heldout, families.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(exists=True, help="A recording to do again, to see whether it is still valid.")
    ] = None,
    split: Annotated[Split, typer.Option()] = Split.train,  # type: ignore[attr-defined]
    out: Annotated[Path, typer.Option(file_okay=False, help="The folder to record into.")] = Path("my-episodes"),
    task: Annotated[str, typer.Option(help="With --url: the kind of task; by default the site.")] = "",
    private: Annotated[
        str, typer.Option(metavar="CSS", help="With --url, --replay: more fields to mask, beside passwords and cards.")
    ] = "",
    size: Annotated[
        str,
        typer.Option(metavar="WIDTHxHEIGHT", help="With --url: the window, in pixels; small ones suit small planners."),
    ] = "1280x720",
    script: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='With --url: lines such as: click button "Send", played without a window; docs/tutorial.md has all.',
        ),
    ] = None,
    first_seed: int = 1000,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per page.")] = 40,
    workers: Count = 1,
) -> Result:
    """Record demonstrations: your own in a browser window, or scripted ones on MiniWoB++ pages.

    In the window, F9 ends the recording, and so does closing it. Ctrl-C keeps what was done, with an unknown outcome.

    Example: tracer record --url http://localhost:8000/ --goal "Put two green teas into the basket"
    """
    if pages is not None and (url is not None or replay is not None):
        raise ConfigError("--pages goes with neither --url nor --replay: give one of them")
    if replay is not None:
        return _replay(replay, url, private)
    if url is None and pages is None:
        raise ConfigError('record needs one of: --url URL --goal "...", --pages PAGES, --replay FILE')
    if pages is not None:
        return _record_pages(pages, split, out, range(first_seed, first_seed + episodes), workers)
    from tracer.environments import demonstration
    from tracer.environments import script as scripts
    from tracer.environments.browser import parsed_size

    if url is None or goal is None or not goal.strip():
        raise ConfigError('--url also needs the --goal "..." that is demonstrated: the planner is told nothing else')
    drive = None if script is None else scripts.script(script)
    window = parsed_size(size)
    try:
        found = demonstration.record(url, goal, out, split=split, task=task, private=private, size=window, drive=drive)
    except KeyboardInterrupt as stopped:
        raise Interrupted(str(stopped)) from stopped
    return Result(data=found, text=str(found))


def _record_pages(pages: str, split: str, out: Path, seeds: range, workers: int) -> Result:
    from tracer.environments import record as recording
    from tracer.environments.pages import GROUPS

    names = GROUPS.get(pages) or pages.split(",")
    summaries = recording.record(names, seeds, out, split, workers=workers)  # which prints a line for each page
    episodes = sum(summary.episodes for summary in summaries)
    return Result(data=summaries, text=f"{out / split}: {episodes} episodes of {len(summaries)} pages")


def _replay(episodes: Path, url: str | None, private: str) -> Result:
    from tracer.environments import demonstration

    def ask(instruction: str) -> str:
        return typer.prompt(f"{instruction}: what is typed here", hide_input=True, err=True)

    secret = ask if sys.stdin.isatty() else None
    found = demonstration.replay(episodes, url, private=private, secret=secret)
    return Result(data=found, text="\n".join(map(str, found)), ok=not any(each.problem for each in found))


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
    from tracer.planner import hub
    from tracer.validation.lessons import Lessons
    from tracer.validation.validate import prompt_counter

    if source is None:
        if check:
            raise ConfigError("--check needs a data set: `tracer ingest SOURCE PATH --check`")
        return run_step(config, "ingest", out)
    if path is None:
        raise ConfigError("ingest SOURCE also needs the PATH of the data set")
    plugins.find(plugins.SOURCES, source)  # an unknown one is named before anything else is looked at
    data = DataConfig(source=source, path=str(path), options=parsed_options(option), workers=workers, pointer="")
    if check:
        counter = prompt_counter(config, hub.folder(config))
        lessons = Lessons(config.planner, counter.sees if counter else None)
        found = checked(data, lessons.add)
        found["training"] = lessons.warnings()
        wrong = [*found["problems"], *found.get("warnings", ()), *(f"training: {each}" for each in found["training"])]
        lines = wrong or [f"{found['trajectories']} trajectories, and nothing wrong with them"]
        if counter is None and config.planner.image:
            lines.append(f"not checked: whether screens are too large for the planner's pictures; {hub.absent(config)}")
        text = "\n".join(lines)
        return Result(data=found, text=text, ok=not found["rejected"])
    out = out or Path("build/sources") / source
    return finished(lambda: ingest_source(data, out, progress=sys.stderr.isatty()), out)


def mix(config: Config, out: Out = None) -> Result:
    """Combine the sources of `mixture`, weighted, filtered and split, into one data set.

    Example: tracer mix --profile tiny --out build/mixture
    """
    from tracer.ingestion import mixture

    out = out or config.out("mixture")
    return finished(lambda: mixture.mix(config.mixture, out, store=config.data.store), out)


def validate(config: Config, out: Out = None) -> Result:
    """Check the shards with the Great Expectations suite.

    Example: tracer validate --profile demo
    """
    return run_step(config, "validate", out)


COMMANDS = (record, ingest, mix, validate)

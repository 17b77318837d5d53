"""``tracer data``: add new data, list what there is, and remove it."""

from __future__ import annotations

from typing import Annotated

import typer

from tracer.cli.common import Result
from tracer.config import Config
from tracer.settings import ConfigError

Batch = Annotated[str, typer.Argument(metavar="BATCH", help="A batch's name, as `tracer data list` shows it.")]


def add(
    config: Config,
    path: Annotated[str, typer.Argument(help="The folder with the new data, or its address in S3.")],
    source: Annotated[str, typer.Option(help="The adapter that reads it; by default that of batches.source.")] = "",
    option: Annotated[list[str], typer.Option(metavar="KEY=VALUE", help="An option of the source.")] = [],  # noqa: B006
    allow_drift: Annotated[str, typer.Option(metavar="WHY", help="Accept data unlike the champion's.")] = "",
) -> Result:
    """Check new data on its own, and add it to the data as one batch and one commit. Exit code 1 if it is refused.

    Example: tracer data add my-episodes
    """
    from tracer.batches import arrival
    from tracer.ingestion.parts import parsed_options

    verdict = arrival.add(config, path, source, parsed_options(option), allow_drift)
    return Result(data=verdict.to_dict(), text=str(verdict), ok=verdict.accepted)


def listed(config: Config) -> Result:
    """List the batches of the data, and those that were refused.

    Example: tracer data list
    """
    from tracer.batches import inbox, store

    refused = [report for _, report in inbox.reports(config) if not report["accepted"]]
    lines = [f"{each['batch']}  {each['episodes']} episodes of {each['source']}" for each in store.accepted(config)]
    lines += [f"{each['batch']}  refused: {_reasons(each)}" for each in refused]
    lines += [f"{path}  waits" for path in inbox.arrivals(config)]
    data = {"accepted": store.accepted(config), "refused": refused, "waiting": inbox.arrivals(config)}
    return Result(data=data, text="\n".join(lines) or "no batch was added yet")


def _reasons(report: dict[str, list[dict[str, str]]]) -> str:
    return ", ".join(finding["name"] for finding in report["findings"] if not finding["ok"])


def show(config: Config, batch: Batch) -> Result:
    """Show the report on a batch, accepted or refused, and where it is.

    Example: tracer data show 1f0c2ab94e7d
    """
    from tracer.batches import inbox, store
    from tracer.batches.verdict import described

    found = {folder.rpartition("/")[2]: (folder, report) for folder, report in inbox.reports(config)}
    about = next((each for each in store.accepted(config) if each["batch"] == batch), None)
    if about is None and batch not in found:
        raise ConfigError(f"there is no batch {batch}; `{config.command('data list')}` lists them")
    folder, report = found.get(batch, (None, None))
    place = store.place(config, batch) if about else "not part of the data"
    text = described(report) if report else f"batch {batch}, accepted; its report is not here"
    return Result(
        data={"batch": about, "place": str(place), "report": report},
        text=f"{text}\n  {place}" + (f"\n  {folder}" if folder else ""),
    )


def remove(config: Config, batch: Batch, reason: Annotated[str, typer.Option(help="Why, for the commit.")]) -> Result:
    """Take a batch out of the data, as one commit. DVC keeps what it contained: adding it again brings it back.

    Example: tracer data remove 1f0c2ab94e7d --reason "recorded on the wrong build"
    """
    from tracer.batches import arrival

    pinned = arrival.remove(config, batch, reason)
    return Result(data={"batch": batch, "pinned": pinned}, text=f"batch {batch} is removed; {pinned}")


listed.__name__ = "list"
DATA = (add, listed, show, remove)

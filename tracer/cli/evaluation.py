"""Evaluate a planner offline and online, report, and watch."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from tracer.cli.common import Model, Out, Result, finished, run_step
from tracer.config import Config
from tracer.reporting.export import FORMATS
from tracer.stages import MODELS

Viewer = StrEnum("Viewer", {name: name for name in ("page", *FORMATS)})  # type: ignore[misc]
PAGE = Viewer("page")


def offline(config: Config, model: Model = MODELS[-1], out: Out = None) -> Result:
    """Forecast from held-out states and compare with what was really done.

    Example: tracer evaluate offline --model tracer-planner@champion
    """
    return _evaluate("offline", config, model, out)


def online(config: Config, model: Model = MODELS[-1], out: Out = None) -> Result:
    """Play whole episodes on MiniWoB++ in Chromium.

    Example: tracer evaluate online --model tracer-planner@champion
    """
    return _evaluate("online", config, model, out)


def _evaluate(kind: Literal["offline", "online"], config: Config, model: str, out: Path | None) -> Result:
    from tracer import flow

    step = flow.evaluation(kind, model)
    # A wrong name ends here, before anything is made for it; a registered version is brought and verified once.
    given = {} if model in MODELS else {model: flow.model(config, model)}
    flow.prepare(config, step)
    out = out or step.out(config)
    return finished(lambda: step.run(config, out, given), out)


def report(config: Config, out: Out = None) -> Result:
    """Write one HTML page of results, curves and forecasts drawn on their screens.

    Example: tracer report --profile demo
    """
    return run_step(config, "report", out)


def view(
    config: Config,
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Runs or steps' folders; by default the profile's run.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(file_okay=False, help="Write into this folder, in place of serving the page.")
    ] = None,
    format: Annotated[
        Viewer, typer.Option(help="What is written into --out: the page, or the traces for another viewer.")
    ] = PAGE,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of this machine; 0 takes a free one.")] = 8765,
) -> Result | None:
    """Watch episodes and forecasts like films, in the browser.

    Example: tracer view build/demo/seed0
    """
    from tracer.reporting import export
    from tracer.reporting import view as viewing
    from tracer.reporting.links import HOST

    where = folders or [config.folder]
    if format != PAGE:
        if out is None:
            raise typer.BadParameter(f"--format {format} needs a folder to write into: --out DIR")
        episodes = export.export(format, where, out)
        return Result(data={"episodes": episodes, "folder": out}, text=f"{episodes} episodes as {format}: {out}")
    if out is not None:
        films, page = viewing.write(where, out), out / "index.html"
        return Result(data={"films": films, "page": page}, text=f"{films} films: {page}")
    with suppress(KeyboardInterrupt), viewing.server(where, port) as server:
        print(f"http://{HOST}:{server.server_port}/ (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    return None


EVALUATE = (offline, online)
COMMANDS = (report, view)

"""Use a planner: serve it, and let it act on a web page."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from tracer.cli.common import PLANNERS, Result
from tracer.config import Config
from tracer.settings import ConfigError
from tracer.stages import MODELS

Served = Annotated[
    str | None,
    typer.Option(help=f"By default the champion: {PLANNERS}.", autocompletion=lambda: list(MODELS)),
]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]


def serve(
    config: Config,
    model: Served = None,
    host: Annotated[str, typer.Option(help="Another one than this machine's needs a key in TRACER_API_KEY.")] = (
        "127.0.0.1"
    ),
    port: Port = 8000,
) -> Result | None:
    """Serve a planner: OpenAI's chat completions, and /forecast for a screen and a goal.

    A registered alias is followed; for openai:URL#MODEL, such as vLLM's, requests are passed on. Ctrl-C ends it.

    Example: tracer serve --model tracer-planner@champion
    """
    from tracer.serving import server

    name = model or f"{config.registry.model}@champion"
    with suppress(KeyboardInterrupt):
        server.serve(config, name, host, port, say=lambda line: print(line, flush=True))
    return None


def act(
    config: Config,
    url: Annotated[str, typer.Option(help="The page to begin on.")],
    goal: Annotated[str, typer.Option(help="What is to be reached.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the trace is added, which `tracer view` shows.")],
    model: Served = None,
    agent: Annotated[str, typer.Option(help="The strategy: anticipatory, react, ...")] = "anticipatory",
    steps: Annotated[int, typer.Option(min=1, help="How many steps at most.")] = 20,
    allow: Annotated[
        list[str] | None, typer.Option(help="A host beside the page's own that pages may reach; * for anything.")
    ] = None,
    size: Annotated[
        str, typer.Option(metavar="WIDTHxHEIGHT", help="The window, in pixels: best as in the demonstrations.")
    ] = "1280x800",
    yes: Annotated[bool, typer.Option("--yes", help="Send forms and the like without asking.")] = False,
) -> Result:
    """Act on any web page, in a browser of its own. Exit code 1 unless the agent says that it is done.

    Example: tracer act --url http://localhost:8080 --goal "Open the report" --out acted
    """
    from tracer import flow
    from tracer.environments.browser import parsed_size
    from tracer.evaluation import acting

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def ask(question: str) -> bool:
        try:
            return yes or typer.confirm(question, err=True)
        except typer.Abort:  # nobody there to answer
            return False

    window = parsed_size(size)
    if not goal.strip():
        raise ConfigError("--goal is empty: say what is to be reached")
    folder = flow.trained(config, model or f"{config.registry.model}@champion")
    asked = acting.Errand(url=url, goal=goal, agent=agent, steps=steps, allowed=tuple(allow or ()), size=window)
    row = acting.act(config, folder, out, asked, ask, say)
    done, forecasts = (
        f"{n} {noun}{'s' * (n != 1)}" for n, noun in ((row["executed"], "step"), (row["calls"], "forecast"))
    )
    text = f"{row['reason']}, after {done} and {forecasts}: tracer view {out}"
    return Result(data=row, text=text, ok=row["reason"] == acting.DONE)


COMMANDS = (serve, act)
"""In the order of the help."""

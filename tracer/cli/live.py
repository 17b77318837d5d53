"""Use a planner: serve it."""

from __future__ import annotations

from typing import Annotated

import typer

from tracer.cli.common import PLANNERS, Result
from tracer.config import Config
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
    server.serve(config, name, host, port, say=lambda line: print(line, flush=True))
    return None


COMMANDS = (serve,)
"""In the order of the help."""

"""What every command shares: its options, the configuration they name, and how it prints its result."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from tracer.config import Config, load
from tracer.finding import Finding
from tracer.lineage.step import reused
from tracer.stages import MODELS

PLANNERS = f"{', '.join(MODELS)}, a folder, a registered name@alias, or openai:URL#MODEL"

Out = Annotated[Path | None, typer.Option(file_okay=False, help="The output folder; by default the profile's.")]
Count = Annotated[int, typer.Option(min=1)]
Model = Annotated[str, typer.Option(help=f"The planner: {PLANNERS}.", autocompletion=lambda: list(MODELS))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command found: ``data`` for ``--json``, ``text`` for people, and ``ok`` for the exit code, 0 or 1."""

    data: Any
    text: str | None = None
    """By default the data, as JSON."""
    ok: bool = True

    def show(self, as_json: bool) -> None:
        """Print it; raises ``typer.Exit``."""
        text = self.text
        if as_json or text is None:
            text = orjson.dumps(self.data, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()
        if text:
            print(text.rstrip("\n"))
        raise typer.Exit(0 if self.ok else 1)


class Interrupted(RuntimeError):
    """Ctrl-C, which the message says the consequences of."""


Command = Callable[..., Result | None]


def configuration(
    *,
    profile: Annotated[str | None, typer.Option(help="A profile of params.yaml; by default the one it names.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The seed, which also names the output folder.")] = None,
    overrides: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: stage1.steps=10.")
    ] = [],  # noqa: B006
    force: Annotated[bool, typer.Option("--force", hidden=True, help="Allow a horizon over 10.")] = False,
) -> Config:
    """The configuration; the parameters are the options of every command that takes a ``config``."""
    return load(profile, [*overrides, *([] if seed is None else [f"seed={seed}"])], force=force)


def group(about: str, functions: Iterable[Command]) -> typer.Typer:
    """Functions as the commands of their names."""
    app = typer.Typer(name="tracer", help=about, no_args_is_help=True, pretty_exceptions_enable=False)
    add(app, functions)
    return app


def add(app: typer.Typer, functions: Iterable[Command], title: str | None = None) -> None:
    """Add functions to an application, listed together under a title where there is one."""
    for function in functions:
        app.command(function.__name__, rich_help_panel=title)(_command(function))


def _command(function: Command) -> Callable[..., None]:
    """A function as typer takes it: with ``--json`` and, for a ``config``, the options of ``configuration``.

    The function may name one of those options too, to get its value or to give it another default.
    """
    own = inspect.signature(function, eval_str=True).parameters
    shared = inspect.signature(configuration, eval_str=True).parameters if "config" in own else {}

    @wraps(function)
    def run(as_json: bool, **given: Any) -> None:
        if shared:
            given["config"] = configuration(**{name: given[name] for name in shared})
        # What the library prints while it works is no part of the JSON.
        with redirect_stdout(sys.stderr) if as_json else nullcontext():
            values = {name: given[name] for name in own}
            result = function(**{k: each.value if isinstance(each, Enum) else each for k, each in values.items()})
        if result is not None:
            result.show(as_json)

    skipped = {"config", *shared}
    parameters = {name: each.replace(kind=each.KEYWORD_ONLY) for name, each in own.items() if name not in skipped}
    for name, each in shared.items():
        default = own[name].default if name in own else each.empty
        parameters[name] = each if default is each.empty else each.replace(default=default)
    as_json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
    parameters["as_json"] = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=as_json
    )
    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {name: each.annotation for name, each in parameters.items()}
    return run


def run_step(config: Config, name: str, out: Path | None) -> Result:
    """Run a step of the flow, into ``out`` or where the flow has it."""
    from tracer import flow

    step = flow.step(name)
    flow.prepare(config, step)
    out = out or step.out(config)
    return finished(lambda: step.run(config, out), out)


def finished(run: Callable[[], Mapping[str, Any]], out: Path) -> Result:
    """Run a step; its folder, digest, headline metrics and seconds, which are those of then if it was found."""
    since = datetime.now(UTC)
    lineage = run()
    data = {
        "out": str(out),
        "digest": lineage["digest"][:12],
        "reused": reused(lineage, since),
        "seconds": lineage["seconds"],
        **lineage["metrics"],
    }
    return Result(data=data, text=aligned({name: shown(value) for name, value in data.items()}))


def examination(findings: Sequence[Finding]) -> Result:
    """Findings, each with its fix; exit code 1 if something needs fixing."""
    lines = [line for finding in findings for line in finding.lines()]
    return Result(data=findings, text="\n".join(lines), ok=all(finding.ok for finding in findings))


def aligned(lines: Mapping[str, str]) -> str:
    """Names and values in two columns."""
    width = max(map(len, lines), default=0)
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in lines.items())


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)

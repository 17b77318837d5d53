"""What every command shares: its options, the configuration they name, and how it prints its result."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from tracer import flow
from tracer.config import load
from tracer.stages import MODELS

PLANNERS = f"{', '.join(MODELS)}, a folder, or a registered name@alias"

Out = Annotated[Path | None, typer.Option(help="The output folder; by default the profile's.")]
Count = Annotated[int, typer.Option(min=1)]
Model = Annotated[str, typer.Option(help=f"The planner: {PLANNERS}.")]

PROFILE = typer.Option(help="A profile of params.yaml; by default the one it names.")
SEED = typer.Option(min=0, help="The seed, which also names the output folder.")
OVERRIDES = typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: stage1.steps=10.")
FORCE = typer.Option("--force", help="Allow a horizon over 10.")
CONFIGURED: dict[str, tuple[Any, Any]] = {
    "profile": (Annotated[str | None, PROFILE], None),
    "seed": (Annotated[int | None, SEED], None),
    "overrides": (Annotated[list[str], OVERRIDES], ()),
    "force": (Annotated[bool, FORCE], False),
}
"""The options of a command that takes a ``config``."""
AS_JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command found: ``data`` for ``--json``, ``text`` for people, and ``ok`` for the exit code, 0 or 1."""

    data: Any
    text: str | None = None
    """By default the data, as indented JSON."""
    ok: bool = True

    def show(self, as_json: bool) -> None:
        """Print it; raises ``typer.Exit``."""
        text = json.dumps(self.data, ensure_ascii=False) if as_json else self.text
        text = json.dumps(self.data, indent=2, ensure_ascii=False) if text is None else text
        if text:
            print(text.rstrip("\n"))
        raise typer.Exit(0 if self.ok else 1)


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., Result | None]], Callable[..., None]]:
    """Register a function that returns a ``Result`` as a command, with ``--json``.

    A parameter ``config`` becomes the options ``--profile``, ``--seed``, ``--set`` and ``--force``. The docstring is
    the help; its last paragraph is an example.
    """

    def register(function: Callable[..., Result | None]) -> Callable[..., None]:
        given = inspect.signature(function, eval_str=True).parameters
        own = [each for name, each in given.items() if name not in ("config", "overrides")]
        options = CONFIGURED if "config" in given else {}

        @wraps(function)
        def run(**values: Any) -> None:
            as_json = values.pop("as_json")
            if options:
                profile, seed, overrides, force = (values.pop(name) for name in CONFIGURED)
                seeded = [*overrides, *([] if seed is None else [f"seed={seed}"])]
                values["config"] = load(profile, seeded, force=force)
                if "overrides" in given:
                    values["overrides"] = list(overrides)
            result = function(**values)
            if result is not None:
                result.show(as_json)

        parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own]
        for option, (annotation, default) in {**options, "as_json": (AS_JSON, False)}.items():
            default = list(default) if isinstance(default, tuple) else default
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(option, kind, default=default, annotation=annotation))
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        app.command(name)(run)
        return run

    return register


def step_result(config: Any, name: str, out: Path | None) -> Result:
    """Run a step of the flow, into ``out`` or where the flow has it."""
    step = flow.step(name)
    out = out or step.out(config)
    return finished(step.run(config, out), out)


def finished(lineage: Mapping[str, Any], out: Path) -> Result:
    """The result of a finished step: its folder, digest, seconds and headline metrics."""
    data = {"out": str(out), "digest": lineage["digest"][:12], "seconds": lineage["seconds"], **lineage["metrics"]}
    return Result(data=data, text=aligned({name: shown(value) for name, value in data.items()}))


def aligned(lines: Mapping[str, str]) -> str:
    """Names and values in two columns."""
    width = max(map(len, lines), default=0)
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in lines.items())


def shown(value: Any) -> str:
    """A value as a person reads it."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value)

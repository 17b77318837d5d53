"""What every asset does around its one call of the library: find finished work cheaply, and describe what was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from tracer.config import Config
from tracer.lineage.code import code_digest
from tracer.lineage.digest import finished
from tracer.lineage.step import expected_digest


class Interrupted(dg.DagsterError):
    """Ctrl-C, or the run's termination from the UI."""


_stopped: set[str] = set()


@contextmanager
def interruptible(context: dg.AssetExecutionContext) -> Iterator[None]:
    """For the body of a step with a retry policy: Dagster would run it again when a person stops the run.

    The step fails for good instead, and so does every later one of the run, at its start.
    """
    if context.run_id in _stopped:
        raise Interrupted("the run was interrupted before this step")
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
        _stopped.add(context.run_id)
        raise Interrupted("interrupted; run it again to go on from the last checkpoint") from error


@cache
def code_version(module: str) -> str:
    """The digest of a step's code, that of every module it imports included."""
    return code_digest(module)[:16]


def run(
    config: Config, stage: str, module: str, inputs: Mapping[str, Path], call: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """The lineage of a training stage: of its finished folder if that is current, else of ``call``, which runs it.

    ``call`` would find the finished folder too, but only after the seconds that torch takes to import.
    """
    done = finished(config.out(stage))
    if done is None or not all(path.exists() for path in inputs.values()):
        return call()
    digest = expected_digest(stage, config.shaping(stage), inputs, module, config.seed)
    return done if done["digest"] == digest else call()


def made(config: Config, out: Path, done: Mapping[str, Any], **extra: Any) -> dg.MaterializeResult[Any]:
    """The materialisation of a step's folder: its digest as data version, its metrics and lineage as metadata."""
    numbers = {key: value for key, value in done["metrics"].items() if isinstance(value, int | float | str)}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(done["output"]),
        metadata={
            "folder": dg.MetadataValue.path(str(out.resolve())),
            "profile": config.profile,
            "seed": config.seed,
            "seconds": dg.MetadataValue.float(float(done["seconds"])),
            "digest": done["digest"],
            "commit": (done["git"] or {}).get("commit") or "unknown",
            **{f"metric/{key}": value for key, value in numbers.items()},
            "lineage": dg.MetadataValue.json(dict(done)),
            **extra,
        },
    )

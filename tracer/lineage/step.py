"""Running a step: finished work is found by its digest, unfinished work resumed, other work set aside.

Every step of the flow runs through ``run_step``. It hashes what the step depends on (its configuration, its inputs'
contents, its code, its seed) into one digest. A finished folder of the same digest is used as it is, an unfinished
one is resumed, and one of another digest is set aside under ``.stale``, never mixed with or overwritten.
``lineage.json`` is written last: a folder that contains it is complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, TypeAdapter

from tracer.json_files import write_json
from tracer.lineage.code import code_of
from tracer.lineage.digest import (
    HEADLINE,
    LINEAGE,
    STARTED,
    LineageError,
    begun,
    content_digest,
    digest_of,
    finished,
    lock_of,
    tree_digest,
    unfinished,
    writer,
)
from tracer.lineage.provenance import git_commit, hardware, library_versions, lock_digest

JSON = TypeAdapter[Any](Any)
"""A configuration goes into a lineage as it is read from one: with lists in place of tuples."""
SCHEME = 2
"""Which rules made a digest. 1 hashed the text of source files, and no data files or library versions."""

PATIENCE = 10.0
"""Seconds for which a step waits for its folder: `tracer gc` holds one while it looks at it."""


def run_step(
    name: str, *, inputs: Mapping[str, Path], out: Path, body: Callable[[Path], Mapping[str, Any]], **recipe: Any
) -> dict[str, Any]:
    """Run ``body(out)`` unless it already ran for the same digest; return the folder's lineage.

    The name, the inputs and the rest of the recipe are as ``parts_of`` takes them. ``body`` returns the step's headline
    metrics. Raises ``LineageError``.
    """
    out = Path(out)
    parts = parts_of(name, inputs=inputs, **recipe)
    digest = digest_of(parts)
    done = finished(out)
    if done is not None and done["digest"] == digest:  # found without a lock, so also on a disk that is read-only
        return done
    with locked(out, PATIENCE):
        _exchange(out, digest)
        done = finished(out)
        if done is not None:
            return done
        out.mkdir(parents=True, exist_ok=True)
        sources = {key: {"path": relative(Path(path)), "digest": parts["inputs"][key]} for key, path in inputs.items()}
        begun_as = {"digest": digest, **parts, "inputs": sources}
        write_json(out / STARTED, {**begun_as, "process": os.getpid()})
        started = datetime.now(UTC)
        metrics = dict(body(out))
        lineage = {
            **begun_as,
            "output": tree_digest(out),
            "git": git_commit(),
            "lock": lock_digest(),
            "metrics": metrics,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            "hardware": hardware(),
            "versions": library_versions(),
        }
        write_json(out / HEADLINE, metrics)
        write_json(out / LINEAGE, lineage)
        (out / STARTED).unlink(missing_ok=True)
        return lineage


def reused(lineage: Mapping[str, Any], since: datetime) -> bool:
    """Whether a step that was asked for at ``since`` was found finished, and did not run."""
    return datetime.fromisoformat(lineage["started"]) < since.replace(microsecond=0)


def parts_of(
    name: str,
    *,
    config: BaseModel | Mapping[str, Any],
    inputs: Mapping[str, Path],
    module: str,
    plugins: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """What a step's digest is the digest of.

    ``module`` is the dotted name of the module that implements the step, and ``plugins`` are those of the plugins that
    the configuration chose: their code, and that of every module they import, is part of the digest. Raises
    ``LineageError`` for an input that is missing or unfinished.
    """
    return {
        "step": name,
        "scheme": SCHEME,
        "config": JSON.dump_python(config, mode="json"),
        "inputs": {key: content_digest(Path(path)) for key, path in inputs.items()},
        "code": asdict(code_of(module, plugins)),
        "seed": seed,
    }


def expected_digest(name: str, **recipe: Any) -> str:
    """The digest that ``run_step`` would give the step's output now, from the same arguments."""
    return digest_of(parts_of(name, **recipe))


def read_lineage(out: Path) -> dict[str, Any]:
    """The lineage of a folder that has to be finished; raises ``LineageError``."""
    lineage = finished(out)
    if lineage is None and writer(out):
        raise LineageError(unfinished(out))
    if lineage is None:
        raise LineageError(f"{out} contains no {LINEAGE}: the step that makes it has not finished; run that step first")
    return lineage


def verify_output(out: Path) -> dict[str, Any]:
    """The lineage of a folder whose files are still those it was written with; raises ``LineageError``."""
    lineage = read_lineage(out)
    if tree_digest(Path(out)) != lineage["output"]:
        raise LineageError(
            f"{out} has changed since its {LINEAGE} was written; delete the folder and run its step again"
        )
    return lineage


def set_aside(out: Path, digest: str) -> Path:
    """Where a folder of this digest goes when another takes its place."""
    return out.parent / ".stale" / f"{out.name}-{digest[:12]}"


def _exchange(out: Path, digest: str) -> None:
    """Move a folder of another digest away, and an earlier one of this digest back in."""
    present = finished(out) or begun(out)
    if present is not None and present["digest"] != digest:
        aside = set_aside(out, present["digest"])
        aside.parent.mkdir(exist_ok=True)
        os.rename(out, _free(aside))
    elif present is None and out.exists() and any(out.iterdir()):
        raise LineageError(f"{out} holds files that no step wrote; choose another folder or empty this one")
    earlier = set_aside(out, digest)
    if earlier.is_dir() and not (out.exists() and any(out.iterdir())):
        if out.exists():
            out.rmdir()
        os.rename(earlier, out)


def _free(path: Path) -> Path:
    taken, number = path, 1
    while taken.exists():
        taken, number = path.with_name(f"{path.name}.{number}"), number + 1
    return taken


@contextmanager
def locked(out: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a step's folder, so that nobody else writes it.

    Raises ``LineageError`` where another process still does after so many seconds.
    """
    # Resolved, since in the image `build` is a link into a volume, which is empty at first.
    out.parent.resolve().mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock_of(out), timeout=patience):
            yield
    except Timeout as error:
        raise LineageError(f"another process is writing {out}; wait for it, or stop it") from error


def relative(path: Path) -> str:
    """A path as a lineage names it: from the working folder on where it lies there, links resolved."""
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)

"""Running a step: finished work is found by its digest, unfinished work resumed, other work set aside.

Every step of the flow runs through ``run_step``. It hashes what the step depends on (its configuration, its inputs'
contents, the code it imports) into one digest. A finished folder of the same digest is used as it is, an unfinished
one is resumed, and one of another digest is set aside under ``.stale``, never mixed with or overwritten.
``lineage.json`` is written last: a folder that contains it is complete.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tracer.json_files import write_json
from tracer.lineage.code import code_digest
from tracer.lineage.digest import LINEAGE, STARTED, LineageError, content_digest, digest_of, finished, tree_digest
from tracer.lineage.provenance import git_commit, hardware, library_versions, lock_digest


def run_step(
    name: str,
    *,
    config: BaseModel | Mapping[str, Any],
    inputs: Mapping[str, Path],
    out: Path,
    module: str,
    body: Callable[[Path], Mapping[str, Any]],
    seed: int = 0,
) -> dict[str, Any]:
    """Run ``body(out)`` unless it already ran for the same digest; return the folder's lineage.

    ``module`` is the dotted name of the module that implements the step: its code, and that of every tracer module
    it imports, counts into the digest. ``body`` returns the step's headline metrics. Raises ``LineageError``.
    """
    out = Path(out)
    settings = config.model_dump(mode="json") if isinstance(config, BaseModel) else dict(config)
    sources = {key: content_digest(Path(path)) for key, path in inputs.items()}
    code = code_digest(module)
    digest = step_digest(name, settings, sources, code, seed)
    with _locked(out):
        done = finished(out)
        if done is not None and done["digest"] == digest:
            return done
        _set_aside(out, digest)
        done = finished(out)
        if done is not None:
            return done
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / STARTED, {"step": name, "digest": digest})
        started = datetime.now(UTC)
        metrics = dict(body(out))
        lineage = {
            "step": name,
            "digest": digest,
            "output": tree_digest(out),
            "config": settings,
            "seed": seed,
            "inputs": {key: {"path": _relative(Path(path)), "digest": sources[key]} for key, path in inputs.items()},
            "code": code,
            "git": git_commit(),
            "lock": lock_digest(),
            "metrics": metrics,
            "started": started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
            "hardware": hardware(),
            "versions": library_versions(),
        }
        write_json(out / LINEAGE, lineage)
        (out / STARTED).unlink(missing_ok=True)
        return lineage


def step_digest(name: str, settings: Mapping[str, Any], sources: Mapping[str, str], code: str, seed: int) -> str:
    """The digest that names a step's output: of its configuration, its inputs' digests, its code and its seed."""
    return digest_of({"step": name, "config": settings, "inputs": sources, "code": code, "seed": seed})


def expected_digest(
    *, name: str, config: Mapping[str, Any], inputs: Mapping[str, Path], module: str, seed: int = 0
) -> str:
    """The digest that ``run_step`` would give the step's output now."""
    sources = {key: content_digest(Path(path)) for key, path in inputs.items()}
    return step_digest(name, config, sources, code_digest(module), seed)


def read_lineage(out: Path) -> dict[str, Any]:
    """The lineage of a folder that has to be finished; raises ``LineageError``."""
    lineage = finished(out)
    if lineage is None:
        raise LineageError(f"{out} holds no {LINEAGE}: the step that makes it has not finished; run that step first")
    return lineage


def verify_output(out: Path) -> dict[str, Any]:
    """The lineage of a folder whose files are still those it was written with; raises ``LineageError``."""
    lineage = read_lineage(out)
    if tree_digest(Path(out)) != lineage["output"]:
        raise LineageError(
            f"{out} has changed since its {LINEAGE} was written; delete the folder and run its step again"
        )
    return lineage


def _set_aside(out: Path, digest: str) -> None:
    """Move a folder of another digest away, and an earlier one of this digest back in."""
    stale = out.parent / ".stale"
    present = finished(out) or (json.loads((out / STARTED).read_text()) if (out / STARTED).is_file() else None)
    if present is not None and present["digest"] != digest:
        stale.mkdir(exist_ok=True)
        os.rename(out, _free(stale / f"{out.name}-{present['digest'][:12]}"))
    elif present is None and out.exists() and any(out.iterdir()):
        raise LineageError(f"{out} holds files that no step wrote; choose another folder or empty this one")
    earlier = stale / f"{out.name}-{digest[:12]}"
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
def _locked(out: Path) -> Iterator[None]:
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.parent / f".{out.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LineageError(f"another process is writing {out}; wait for it, or stop it") from error
        yield


def _relative(path: Path) -> str:
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)

"""Lineage: what made an output folder, and whether it has to be made again.

Every step of the flow runs through ``run_step``. It hashes what the step depends on (its configuration, its inputs'
contents, the code it imports from tracer) into one digest. A finished folder of the same digest is used as it is, an
unfinished one is resumed, and one of another digest is set aside under ``.stale``, never mixed with or overwritten.
``lineage.json`` is written last: a folder that holds it is complete.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

LINEAGE = "lineage.json"
STARTED = ".started.json"
# What a resumed run may leave differently from an uninterrupted one, and no later step reads.
WORK_FOLDERS = ("checkpoints", "logs")
VERSIONED = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy", "pyarrow", "great-expectations")


class LineageError(RuntimeError):
    """An input that is missing, unfinished or not what was pinned; the message names it and the mend."""


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
            "output": _tree_digest(out),
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
            "versions": versions(),
        }
        write_json(out / LINEAGE, lineage)
        (out / STARTED).unlink(missing_ok=True)
        return lineage


def step_digest(name: str, settings: Mapping[str, Any], sources: Mapping[str, str], code: str, seed: int) -> str:
    """The digest that names a step's output: of its configuration, its inputs' digests, its code and its seed."""
    return digest_of({"step": name, "config": settings, "inputs": sources, "code": code, "seed": seed})


def expected_digest(
    name: str, settings: Mapping[str, Any], inputs: Mapping[str, Path], module: str, seed: int = 0
) -> str:
    """The digest that ``run_step`` would give the step's output now."""
    sources = {key: content_digest(Path(path)) for key, path in inputs.items()}
    return step_digest(name, settings, sources, code_digest(module), seed)


def finished(out: Path) -> dict[str, Any] | None:
    """The lineage of a finished folder, or None."""
    path = Path(out) / LINEAGE
    return json.loads(path.read_text()) if path.is_file() else None


def read(out: Path) -> dict[str, Any]:
    """The lineage of a folder that has to be finished; raises ``LineageError``."""
    lineage = finished(out)
    if lineage is None:
        raise LineageError(f"{out} holds no {LINEAGE}: the step that makes it has not finished; run that step first")
    return lineage


def verify(out: Path) -> dict[str, Any]:
    """The lineage of a folder whose files are still those it was written with; raises ``LineageError``."""
    lineage = read(out)
    if _tree_digest(Path(out)) != lineage["output"]:
        raise LineageError(
            f"{out} has changed since its {LINEAGE} was written; delete the folder and run its step again"
        )
    return lineage


def content_digest(path: Path) -> str:
    """The digest of an input: a finished step's output digest, else a hash over the files themselves."""
    if not path.exists():
        raise LineageError(f"{path} does not exist; run the step that makes it, or `dvc pull` for data")
    if path.is_file():
        return file_digest(path)
    lineage = finished(path)
    if lineage is not None:
        return lineage["output"]
    if (path / STARTED).exists():
        raise LineageError(f"{path} is unfinished; run its step again, which resumes it")
    return _tree_digest(path)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _tree_digest(folder: Path) -> str:
    return digest_of({name: file_digest(folder / name) for name in _files(folder)})


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    skipped = {LINEAGE, STARTED}
    return sorted(n.as_posix() for n in names if n.parts[0] not in WORK_FOLDERS and n.as_posix() not in skipped)


def dvc_md5(folder: Path) -> str:
    """The md5 that DVC 3 gives a folder: of the JSON list of its files' md5 and path, in path order."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    listing = [{"md5": file_digest(folder / name, "md5"), "relpath": name} for name in names]
    return hashlib.md5(json.dumps(listing, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def pinned_md5(pointer: Path) -> str:
    """The md5 that a ``.dvc`` file pins; raises ``LineageError``."""
    try:
        return str(yaml.safe_load(pointer.read_text())["outs"][0]["md5"])
    except (OSError, KeyError, IndexError, TypeError, yaml.YAMLError) as error:
        raise LineageError(
            f"{pointer} is no DVC pointer with an md5 ({error!r}); restore it with `git checkout`"
        ) from error


def check_pin(folder: Path, pointer: Path) -> str:
    """The folder's DVC md5 if it is the pinned one; raises ``LineageError``."""
    pinned, found = pinned_md5(pointer), dvc_md5(folder)
    if found != pinned:
        raise LineageError(
            f"{folder} has md5 {found}, but {pointer} pins {pinned}: the data changed under its pin. "
            f"Accept the change with `dvc add {folder}` or undo it with `dvc checkout {pointer}`; "
            f"`dvc diff` and `dvc status` name the files"
        )
    return found


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, its keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def code_digest(module: str) -> str:
    """The digest of a module's source and of every tracer module it imports, however indirectly."""
    seen: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = None if name in seen else _source(name)
        if path is None:
            continue
        seen[name], imported = _parsed(path.read_bytes())
        todo += imported
    return digest_of(seen)


@cache
def _parsed(source: bytes) -> tuple[str, tuple[str, ...]]:
    """The digest of a module's source, and the names it imports from tracer."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tracer"):
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names if alias.name.startswith("tracer")]
    return hashlib.sha256(source).hexdigest(), tuple(names)


def _source(name: str) -> Path | None:
    """The file of a tracer module, found without importing anything; None for a name imported from a module."""
    place = Path(__file__).parent.parent.joinpath(*name.split("."))
    return next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)


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


def write_json(path: Path, value: Any) -> None:
    """Write atomically: a reader, or a run after a kill, sees the old file or the new one, never half of it."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # what a full disk leaves would count into the output's digest


def _relative(path: Path) -> str:
    absolute = path.resolve()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def git_commit() -> dict[str, Any]:
    """The commit of the code and whether the tree differs from it; None outside a checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, cwd=Path(__file__).parent)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": None if changes is None else bool(changes)}


def lock_digest() -> str | None:
    """The digest of constraints.txt, which pins every dependency; None for an installation without it."""
    path = Path(__file__).parent.parent / "constraints.txt"
    return file_digest(path) if path.is_file() else None


def hardware() -> dict[str, Any]:
    """The processor, its cores, the GPUs and, where torch is loaded, its threads, which decide the last bits."""
    import sys

    torch = sys.modules.get("torch")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch is not None else []
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    threads = {"threads": torch.get_num_threads()} if torch is not None else {}
    return {"cpu": cpu, "cores": os.cpu_count(), "gpus": gpus, **threads}


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in VERSIONED:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found

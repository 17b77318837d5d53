"""A version made again: in a scratch checkout of its commit, step by step, until one comes out otherwise.

The environment is the running one where the commit has the same lock, else one that is installed for it. The data come
by their md5 from DVC's cache, or else from a remote. Every step runs with its recorded settings, seed and number of
threads.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.lineage import why
from tracer.lineage.digest import LineageError, file_digest, files_of, finished
from tracer.lineage.pins import dvc, pinned_folder
from tracer.lineage.provenance import LOCK, lock_digest, root
from tracer.planner.lora import model_folder
from tracer.registry import places, rebuild, storage, versions
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError

WEIGHTS = ".safetensors"
GIT = ("git", "-c", f"core.hooksPath={os.devnull}")
"""Without the hooks of the checkout: DVC's would bring its own data into the scratch one."""


LIKELY = ("seed", "setting", "input", "code", "file", "version", "threads", "cpu", "instructions", "gpus")
"""What may make a step come out otherwise, as the causes begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remade:
    """A step that ran again."""

    step: str
    then: str
    """The digest of its output when the version was made."""
    now: str
    place: str = ""
    """Where the outputs first differ."""
    causes: tuple[str, ...] = ()
    """What else the two lineages have otherwise: each of these is so, and one of them may be the reason."""

    @property
    def equal(self) -> bool:
        """Whether it came out the same, bit for bit."""
        return self.then == self.now

    @property
    def ruled_out(self) -> list[str]:
        """The likely causes that were looked at and are the same."""
        return [name for name in LIKELY if not any(cause.startswith(name) for cause in self.causes)]


def reproduce(where: str, config: RegistryConfig, threads: int | None = None) -> list[Remade]:
    """Make a registered version again; the steps that ran, of which only the last can be another than it was.

    ``threads`` replaces the recorded numbers. Raises ``RegistryError`` for a version whose commit or data are not to be
    had, and for a step that fails.
    """
    made = rebuild.document_of(where, config)
    found: list[Remade] = []
    with _checkout(made) as checkout:
        python = _python(checkout)
        _pull(made, checkout)
        for step in rebuild.steps_to_run(made):
            then = made["steps"][step]
            folder = checkout / "build" / made["profile"] / f"seed{made['seed']}" / step
            _run(made, step, checkout, python, threads or then["hardware"].get("threads"), config)
            now = finished(folder)
            if now is None:
                raise RegistryError(f"{step} left no finished folder {folder}")
            if now["output"] == then["output"]:
                found.append(Remade(step=step, then=then["output"], now=now["output"]))
                continue
            last = step == list(made["steps"])[-1]
            place = _place(then, folder, versions.weights(versions.download(where, config)) if last else None)
            causes = tuple(_causes(then, now)) or ("nothing: it does not repeat itself on this machine",)
            return [*found, Remade(step=step, then=then["output"], now=now["output"], place=place, causes=causes)]
    return found


@contextmanager
def _checkout(made: Mapping[str, Any]) -> Iterator[Path]:
    """A scratch worktree of the version's commit."""
    commit = made["commit"]
    if commit is None:
        raise RegistryError("it cannot be reproduced: its code was in no git checkout")
    with tempfile.TemporaryDirectory(prefix="tracer-reproduce-") as temporary:
        checkout = Path(temporary) / "checkout"
        _done([*GIT, "worktree", "add", "--detach", str(checkout), commit], root(), f"no checkout of {commit[:12]}")
        try:
            yield checkout
        finally:
            _done([*GIT, "worktree", "remove", "--force", str(checkout)], root(), f"{checkout} was left behind")


def _python(checkout: Path) -> str:
    """The Python of the environment that the commit's lock describes."""
    lock = checkout / LOCK
    if not lock.is_file():
        raise RegistryError(f"it cannot be reproduced: its commit has no {LOCK}")
    if file_digest(lock) == lock_digest():
        return sys.executable
    venv.create(checkout / ".venv", with_pip=True)
    python = str(checkout / ".venv" / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", "-c", LOCK, "-e", ".[browser,ocr]"]
    _done(install, checkout, f"the environment of {LOCK} cannot be installed")
    return python


def _pull(made: Mapping[str, Any], checkout: Path) -> None:
    """Bring the data that the version was made of, whatever the commit pins."""
    data = made["data"]
    if not data["pointer"] or not data["md5"]:
        raise RegistryError(f"it cannot be reproduced: its data {data['path']} are not pinned by DVC")
    pointer = checkout / data["pointer"]
    name = pinned_folder(pointer).name if pointer.is_file() else pointer.stem
    storage.write_pin(pointer, data["md5"], name)
    try:
        storage.share(checkout / storage.DVC)
        dvc("pull", "--quiet", data["pointer"], folder=checkout)
    except LineageError as error:
        raise RegistryError(f"neither DVC's cache nor a remote has the data {data['md5']}: {error}") from error


def _run(
    made: Mapping[str, Any], step: str, checkout: Path, python: str, threads: int | None, config: RegistryConfig
) -> None:
    """Run one step as the command line does, in a process of its own, which takes the number of threads."""
    command = [python, "-m", "tracer", *rebuild.arguments(made, step), "--set", "build=build"]
    if step == "base":  # which may be a registered version: the scratch checkout has no registry of its own
        command += ["--set", f"registry.tracking_uri={places.absolute(config)}"]
    environment = {"PYTHONPATH": str(checkout), **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    _done(command, checkout, f"{step} failed", environment)


def _done(command: list[str], folder: Path, failed: str, environment: Mapping[str, str] | None = None) -> None:
    """Run a command; raises ``RegistryError`` with the end of what it said."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **(environment or {})}, capture_output=True, encoding="utf-8"
    )
    if done.returncode != 0:
        said = " ".join((done.stderr or done.stdout).split())[-1500:]
        raise RegistryError(f"{failed}: `{' '.join(command[:6])}` ended with exit code {done.returncode}: {said}")


def _place(then: Mapping[str, Any], now: Path, weights: Path | None) -> str:
    """The first file, or the first tensor of a file of weights, that differs; weights come before other files.

    The step's folder of then is compared if it is still there, else the registered ``weights``.
    """
    before = Path(then["path"])
    kept = finished(before) if before.is_dir() else None
    if kept is None or kept["output"] != then["output"]:
        if weights is None:
            return "its files of then are gone: only the digests can be compared"
        before, now = weights, model_folder(now)
    names = sorted({*files_of(before), *files_of(now)}, key=lambda name: (not name.endswith(WEIGHTS), name))
    for name in names:
        if not (before / name).is_file() or not (now / name).is_file():
            return f"{name} is there only {'now' if (now / name).is_file() else 'then'}"
        if file_digest(before / name) != file_digest(now / name):
            return f"{name}{_tensor(before / name, now / name) if name.endswith(WEIGHTS) else ''}"
    return "files that are not registered"


def _tensor(then: Path, now: Path) -> str:
    """The first tensor, by name, that differs between two files of weights."""
    import torch
    from safetensors import safe_open

    with safe_open(then, "pt") as before, safe_open(now, "pt") as after:
        for name in sorted({*before.keys(), *after.keys()}):
            if name not in before.keys() or name not in after.keys():  # noqa: SIM118
                return f", tensor {name}, which one side lacks"
            a, b = before.get_tensor(name), after.get_tensor(name)
            if a.shape != b.shape or a.dtype != b.dtype:
                return f", tensor {name}: {a.dtype} {tuple(a.shape)} -> {b.dtype} {tuple(b.shape)}"
            bits = [each.contiguous().reshape(-1).view(torch.uint8) for each in (a, b)]
            if not torch.equal(*bits):
                apart = (a.double() - b.double()).abs()
                return f", tensor {name}: {int((a != b).sum())} of {a.numel()} numbers, by up to {apart.max():.1e}"
    return ""


def _causes(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What the lineages have otherwise: parameters, data, code, versions, threads and processor."""

    def parts(lineage: Mapping[str, Any]) -> dict[str, Any]:
        inputs = {name: source["digest"] for name, source in lineage["inputs"].items()}
        return {**lineage, "inputs": inputs, "code": {**lineage["code"], "libraries": {}}}

    yield from why.differences(parts(then), parts(now))
    libraries = [{**lineage["code"]["libraries"], **lineage["versions"]} for lineage in (then, now)]
    for name, (old, new) in why.changes(*libraries):
        yield f"version of {name}: {why.shown(old)} -> {why.shown(new)}"
    for name in ("threads", "cpu", "instructions", "gpus"):
        old, new = (lineage["hardware"].get(name) for lineage in (then, now))
        if old != new and old is not None:
            yield f"{name}: {why.shown(old)} -> {why.shown(new)}"

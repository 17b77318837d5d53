"""The doctor: what on this machine, or in this installation, will keep the pipeline from running, and the fix."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path

import psutil

from tracer.config import PARAMS, load, profiles
from tracer.dvc_yaml import dvc_yaml
from tracer.finding import Finding
from tracer.lineage.code import ABSENT, public_version
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import check_pin
from tracer.lineage.provenance import git_commit
from tracer.settings import ConfigError

PYTHONS = ((3, 11), (3, 12))
DISK_GB = 5.0
"""Room for the outputs of a few runs; the environment itself is about 2 GB more."""
MEMORY_GB = 4.0
"""What the demo's training and a Chromium need beside each other."""
ANTLR = "4.13"
MAKE = "make environment"


def well(name: str, detail: str) -> Finding:
    """A finding that needs no action."""
    return Finding(name, True, detail)


def fault(name: str, detail: str, fix: str) -> Finding:
    """A finding with what to do about it."""
    return Finding(name, False, detail, fix)


def absent(name: str, detail: str, *command: str) -> Finding:
    """A finding of something that is not there, with the command that brings it."""
    return Finding(name, False, detail, " ".join(command), command)


def doctor(root: Path | None = None) -> list[Finding]:
    """Every finding, good and bad, for the checkout at ``root`` (default: the current folder)."""
    root = root or Path.cwd()
    return [
        python(sys.version_info[:2]),
        pins(root / "constraints.txt"),
        antlr(),
        mlflow(root),
        browser(),
        recordings(root / "data" / "raw"),
        remote(root),
        data(root),
        dvc_stages(root),
        disk(root),
        memory(psutil.virtual_memory().available),
        *gpu(),
        checkout(),
    ]


def fix(findings: Iterable[Finding]) -> Iterator[str]:
    """Run the commands that bring what is absent; what was run, and what came of it."""
    for command in (finding.command for finding in findings if finding.command):
        program = [sys.executable, "-m", "dvc"] if command[0] == "dvc" else [command[0]]
        done = subprocess.run([*program, *command[1:]], capture_output=True, encoding="utf-8")
        said = "done" if done.returncode == 0 else " ".join(done.stderr.split())[-300:]
        yield f"{' '.join(command)}: {said}"


def python(version: tuple[int, ...]) -> Finding:
    """Whether this is a Python that the pins support."""
    shown = ".".join(map(str, version))
    if version in PYTHONS:
        return well("python", shown)
    return fault("python", shown, "make clean, then make environment PYTHON=/path/to/python3.11")


def pins(constraints: Path) -> Finding:
    """Whether what is installed is what constraints.txt pins; only its packages that are installed are compared."""
    if not constraints.is_file():
        return absent("pins", f"{constraints} does not exist", "git", "checkout", "constraints.txt")
    found = [re.fullmatch(r"([\w.-]+)==(\S+)", line.strip()) for line in constraints.read_text("utf-8").splitlines()]
    pinned = {match[1]: match[2] for match in found if match}
    installed = {name: version for name in pinned if (version := public_version(name)) != ABSENT}
    others = [f"{name} {version}, not {pinned[name]}" for name, version in installed.items() if version != pinned[name]]
    if others or not installed:
        shown = "; ".join(others[:8]) + (f"; and {len(others) - 8} more" if len(others) > 8 else "")
        return fault("pins", shown or "none of its packages is installed", MAKE)
    return well("pins", f"{len(installed)} of {len(pinned)} pinned packages installed, all as pinned")


def antlr() -> Finding:
    """Dagster's parser of asset selections dies under the ANTLR that DVC's usual dependencies pin (dagster#27487)."""
    version = public_version("antlr4-python3-runtime")
    detail = f"antlr4-python3-runtime {version}"
    if version.startswith(ANTLR):
        return well("antlr", detail)
    return fault("antlr", f"{detail}; Dagster's asset selections need {ANTLR}", MAKE)


def mlflow(root: Path) -> Finding:
    """Whether ``import mlflow`` from the root finds the package, not the folder of settings of the same name."""
    folder = root / "mlflow"
    code = sorted(path.relative_to(root).as_posix() for path in folder.rglob("*.py"))
    if code:
        detail = f"Python in the settings folder: {', '.join(code)}"
        return fault("mlflow", detail, f"move it: {folder} shadows mlflow")
    spec = PathFinder.find_spec("mlflow", [str(root), *sys.path])
    if spec is None or spec.origin is None:
        return fault("mlflow", "the package mlflow is not installed", MAKE)
    return well("mlflow", f"{public_version('mlflow')}, the installed package")


def browser() -> Finding:
    """Whether pages can be played."""
    from tracer.environments.browser import chromium

    found, missing = chromium()
    if missing:
        return fault("chromium", f"{missing}; the online steps are skipped", f"{MAKE}; infra/chromium.sh as root")
    return well("chromium", found)


def recordings(raw: Path) -> Finding:
    """Whether the browser of this machine shows what was recorded: one episode is played again."""
    from tracer.environments.browser import Browser, chromium
    from tracer.environments.replay import replay
    from tracer.sources import jsonl
    from tracer.trajectory import Trajectory

    name = "recordings"
    if chromium()[1] or not raw.is_dir():
        return well(name, "not replayed: that needs Chromium and the sample data")
    played = (item for item in jsonl.read(raw) if isinstance(item, Trajectory) and item.source == "miniwob")
    episode = next(played, None)
    if episode is None:
        return well(name, f"not replayed: {raw} has no MiniWoB++ episode")
    with Browser() as browser:
        difference = replay(browser, episode)
    if difference:
        advice = "install the pinned versions (make environment), or record the data again with this browser"
        return fault(name, f"a replayed episode differs: {difference}", advice)
    return well(name, f"{episode.id} was replayed and equals its recording")


def remote(root: Path) -> Finding:
    """Whether DVC's default remote is there. One that is not a folder is named, not contacted."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([root / ".dvc" / "config", root / ".dvc" / "config.local"], encoding="utf-8")
    name = settings.get("core", "remote", fallback=None)
    url = settings.get(f"'remote \"{name}\"'", "url", fallback=None)
    if url is None:
        fix = "git checkout .dvc/config, or dvc remote add -d"
        return fault("dvc remote", "no default remote in .dvc/config", fix)
    if re.match(r"[a-z0-9+]{2,}:", url):
        return well("dvc remote", f"{name}: {url} (not contacted; `dvc status --cloud` does)")
    folder = (root / ".dvc" / url).resolve()
    if folder.is_dir():
        return well("dvc remote", f"{name}: {folder}")
    return absent("dvc remote", f"{name}: {folder} does not exist", "git", "checkout", str(folder))


def data(root: Path) -> Finding:
    """Whether the data is there and is what ``data.dvc`` pins."""
    folder, pointer = root / "data", root / "data.dvc"
    if not folder.is_dir() and own_data(root):
        detail = "absent: only the sample profiles need it; `dvc pull`, or `tracer doctor --fix`, brings it"
        return Finding("data", True, detail, command=("dvc", "pull", "data.dvc"))
    if not folder.is_dir():
        return absent("data", f"{folder} does not exist", "dvc", "pull", "data.dvc")
    try:
        return well("data", f"{check_pin(folder, pointer)}, as data.dvc pins it")
    except LineageError as error:
        return fault("data", str(error), "dvc checkout data.dvc, or dvc add data to accept it")


def own_data(root: Path) -> bool:
    """Whether a profile reads data of its own, and so somebody works here without the sample."""
    try:
        found = [load(name, path=root / PARAMS) for name in profiles(root / PARAMS)]
    except ConfigError:
        return False
    sample = (root / "data").resolve()
    return any(not each.mixture.sources and not (root / each.data.path).resolve().is_relative_to(sample)
               for each in found)  # fmt: skip


def dvc_stages(root: Path) -> Finding:
    """Whether dvc.yaml has the steps, and watches the data that params.yaml names."""
    written, params = root / "dvc.yaml", root / PARAMS
    if not written.is_file() or not params.is_file():
        return well("dvc.yaml", "not compared: dvc.yaml or params.yaml is not here")
    try:
        wanted = dvc_yaml(load(path=params))
    except ConfigError as error:
        return fault("dvc.yaml", str(error), f"correct {params}")
    if written.read_text(encoding="utf-8") == wanted:
        return well("dvc.yaml", "has the steps, and the data that params.yaml names")
    return fault("dvc.yaml", "is not what the steps and params.yaml make of it", "tracer dvc-yaml > dvc.yaml")


def disk(root: Path) -> Finding:
    """Whether there is room for the outputs."""
    free = shutil.disk_usage(root).free / 1e9
    if free >= DISK_GB:
        return well("disk", f"{free:.0f} GB free")
    return fault("disk", f"{free:.0f} GB free", f"free {DISK_GB:.0f} GB, for example with make clean")


def memory(available: int) -> Finding:
    """Whether there is memory for the demo, given the available bytes."""
    shown = f"{available / 1e9:.1f} GB available"
    if available >= MEMORY_GB * 1e9:
        return well("memory", shown)
    return fault("memory", shown, f"the demo needs {MEMORY_GB:.0f} GB: end something")


def gpu() -> list[Finding]:
    """The GPU, and what may stand beside which torch."""
    import torch

    cuda, devices = torch.version.cuda, torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(devices))
    driver = _driver()
    if driver and not devices:
        why = "this torch is a build for processors" if cuda is None else f"torch {torch.__version__} cannot use it"
        fix = "install the CUDA build of torch: pip install -c constraints.txt -c infra/constraints-gpu.txt -e '.[gpu]'"
        device = fault("gpu", f"{driver}, but {why}", fix)
    else:
        device = well("gpu", names or "none: everything runs on the CPU")
    return [device, importable("torchvision"), importable("vllm")]


def importable(package: str) -> Finding:
    """Whether a package that is absent or whole is not there and broken.

    torchvision's published wheel is the CUDA one: beside a torch for processors its import fails, and transformers'
    imports with it; vLLM's fails likewise. So it is really imported, in a process of its own.
    """
    version = public_version(package)
    if version == ABSENT:
        return well(package, "absent, as the default has it; the extra gpu brings it")
    done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, encoding="utf-8")
    if done.returncode == 0:
        return well(package, version)
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    fix = f"{sys.executable} -m pip uninstall {package}"
    return fault(package, f"{version} cannot be imported: {reason}", fix)


def checkout() -> Finding:
    """Lineage names the commit of the code, and says so when the tree differs from it."""
    state = git_commit()
    if state["commit"] is None:
        return fault("git", "no git checkout with a commit: lineage cannot name the code", "work in a git clone")
    dirty = " with changes that are not committed: results carry that mark" if state["dirty"] else ""
    return well("git", state["commit"][:12] + dirty)


def _driver() -> str:
    """What the NVIDIA driver lists; empty without one."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ""
    listed = subprocess.run(
        [command, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, encoding="utf-8"
    )
    return ", ".join(listed.stdout.split("\n")).strip(", ") if listed.returncode == 0 else ""

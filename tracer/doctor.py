"""The doctor: what on this machine, or in this installation, will keep the pipeline from running, and the fix."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from tracer.finding import Finding
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import check_pin
from tracer.lineage.provenance import git_commit

PYTHONS = ((3, 11), (3, 12))
DISK_GB = 5.0
"""Room for the outputs of a few runs; the environment itself is about 2 GB more."""
MEMORY_GB = 4.0
"""What the demo's training and a Chromium need beside each other."""
ANTLR = "4.13"
MAKE = "make environment"


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
        disk(root),
        memory(),
        *gpu(),
        checkout(),
    ]


def python(version: tuple[int, ...]) -> Finding:
    """Whether this is a Python that the pins support."""
    shown = ".".join(map(str, version))
    fix = "" if version in PYTHONS else "make clean, then make environment PYTHON=/path/to/python3.11"
    return Finding("python", version in PYTHONS, shown, fix)


def pins(constraints: Path) -> Finding:
    """Whether what is installed is what constraints.txt pins; only its packages that are installed are compared."""
    if not constraints.is_file():
        return Finding("pins", False, f"{constraints} does not exist", "git checkout constraints.txt")
    found = [re.fullmatch(r"([\w.-]+)==(\S+)", line.strip()) for line in constraints.read_text().splitlines()]
    pinned = {match[1]: match[2] for match in found if match}
    installed = {name: version for name in pinned if (version := _version(name)) is not None}
    others = [f"{name} {version}, not {pinned[name]}" for name, version in installed.items() if version != pinned[name]]
    if others or not installed:
        shown = "; ".join(others[:8]) + (f"; and {len(others) - 8} more" if len(others) > 8 else "")
        return Finding("pins", False, shown or "none of its packages is installed", MAKE)
    return Finding("pins", True, f"{len(installed)} of {len(pinned)} pinned packages installed, all as pinned")


def antlr() -> Finding:
    """Dagster's parser of asset selections dies under the ANTLR that DVC's usual dependencies pin (dagster#27487)."""
    version = _version("antlr4-python3-runtime")
    ok = version is not None and version.startswith(ANTLR)
    detail = f"antlr4-python3-runtime {version}" + ("" if ok else f"; Dagster's asset selections need {ANTLR}")
    return Finding("antlr", ok, detail, "" if ok else MAKE)


def mlflow(root: Path) -> Finding:
    """Whether ``import mlflow`` from the root finds the package, not the folder of settings of the same name."""
    folder = root / "mlflow"
    code = sorted(path.relative_to(root).as_posix() for path in folder.rglob("*.py"))
    if code:
        return Finding(
            "mlflow", False, f"Python in the settings folder: {', '.join(code)}", f"move it: {folder} shadows mlflow"
        )
    spec = PathFinder.find_spec("mlflow", [str(root), *sys.path])
    if spec is None or spec.origin is None:
        return Finding("mlflow", False, "the package mlflow is not installed", MAKE)
    return Finding("mlflow", True, f"{_version('mlflow')}, the installed package")


def browser() -> Finding:
    """Whether pages can be played."""
    from tracer.environments.browser import chromium

    found, missing = chromium()
    detail = f"{missing}; the online steps are skipped" if missing else found
    return Finding("chromium", not missing, detail, f"{MAKE}; infra/chromium.sh as root")


def recordings(raw: Path) -> Finding:
    """Whether the browser of this machine shows what was recorded: one episode is played again."""
    from tracer.environments.browser import Browser, chromium
    from tracer.environments.replay import replay
    from tracer.sources import jsonl
    from tracer.trajectory import Trajectory

    name = "recordings"
    if chromium()[1] or not raw.is_dir():
        return Finding(name, True, "not replayed: that needs Chromium and the sample data")
    played = (item for item in jsonl.read(raw) if isinstance(item, Trajectory) and item.source == "miniwob")
    episode = next(played, None)
    if episode is None:
        return Finding(name, True, f"not replayed: {raw} has no MiniWoB++ episode")
    with Browser() as browser:
        difference = replay(browser, episode)
    if difference:
        advice = "install the pinned versions (make environment), or record the data again with this browser"
        return Finding(name, False, f"a replayed episode differs: {difference}", advice)
    return Finding(name, True, f"{episode.id} was replayed and equals its recording")


def remote(root: Path) -> Finding:
    """Whether DVC's default remote is there. One that is not a folder is named, not contacted."""
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([root / ".dvc" / "config", root / ".dvc" / "config.local"])
    name = settings.get("core", "remote", fallback=None)
    url = settings.get(f"'remote \"{name}\"'", "url", fallback=None)
    if url is None:
        return Finding(
            "dvc remote", False, "no default remote in .dvc/config", "git checkout .dvc/config, or dvc remote add -d"
        )
    if re.match(r"[a-z0-9+]{2,}:", url):
        return Finding("dvc remote", True, f"{name}: {url} (not contacted; `dvc status --cloud` does)")
    folder = (root / ".dvc" / url).resolve()
    ok = folder.is_dir()
    return Finding(
        "dvc remote", ok, f"{name}: {folder}{'' if ok else ' does not exist'}", "" if ok else f"git checkout {folder}"
    )


def data(root: Path) -> Finding:
    """Whether the data is there and is what ``data.dvc`` pins."""
    folder, pointer = root / "data", root / "data.dvc"
    if not folder.is_dir():
        return Finding("data", False, f"{folder} does not exist", "dvc pull")
    try:
        return Finding("data", True, f"{check_pin(folder, pointer)}, as data.dvc pins it")
    except LineageError as error:
        return Finding("data", False, str(error), "dvc checkout data.dvc, or dvc add data to accept it")


def disk(root: Path) -> Finding:
    """Whether there is room for the outputs."""
    free = shutil.disk_usage(root).free / 1e9
    ok = free >= DISK_GB
    return Finding(
        "disk", ok, f"{free:.0f} GB free", "" if ok else f"free {DISK_GB:.0f} GB, for example with make clean"
    )


def memory(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Whether there is memory for the demo."""
    if not meminfo.is_file():
        return Finding("memory", True, "not known on this system")
    match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(), re.MULTILINE)
    if match is None:
        return Finding("memory", True, "not known on this system")
    available = int(match[1]) * 1024 / 1e9
    ok = available >= MEMORY_GB
    return Finding(
        "memory", ok, f"{available:.1f} GB available", "" if ok else f"the demo needs {MEMORY_GB:.0f} GB: end something"
    )


def gpu() -> list[Finding]:
    """The GPU, and what may stand beside which torch."""
    import torch

    cuda, devices = torch.version.cuda, torch.cuda.device_count()
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(devices))
    driver = _driver()
    if driver and not devices:
        why = "this torch is a build for processors" if cuda is None else f"torch {torch.__version__} cannot use it"
        fix = "install the CUDA build of torch: pip install -c constraints.txt -c infra/constraints-gpu.txt -e '.[gpu]'"
        device = Finding("gpu", False, f"{driver}, but {why}", fix)
    else:
        device = Finding("gpu", True, names or "none: everything runs on the CPU")
    return [device, importable("torchvision"), importable("vllm")]


def importable(package: str) -> Finding:
    """Whether a package that is absent or whole is not there and broken.

    torchvision's published wheel is the CUDA one: beside a torch for processors its import fails, and transformers'
    imports with it; vLLM's fails likewise. So it is really imported, in a process of its own.
    """
    version = _version(package)
    if version is None:
        return Finding(package, True, "absent, as the default has it; the extra gpu brings it")
    done = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, text=True)
    if done.returncode == 0:
        return Finding(package, True, version)
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return Finding(
        package, False, f"{version} cannot be imported: {reason}", f"{sys.executable} -m pip uninstall {package}"
    )


def checkout() -> Finding:
    """Lineage names the commit of the code, and says so when the tree differs from it."""
    state = git_commit()
    if state["commit"] is None:
        return Finding(
            "git", False, "no git checkout with a commit: lineage cannot name the code", "work in a git clone"
        )
    dirty = " with changes that are not committed: results carry that mark" if state["dirty"] else ""
    return Finding("git", True, state["commit"][:12] + dirty)


def _driver() -> str:
    """What the NVIDIA driver lists; empty without one."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return ""
    listed = subprocess.run([command, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True)
    return ", ".join(listed.stdout.split("\n")).strip(", ") if listed.returncode == 0 else ""


def _version(package: str) -> str | None:
    """The installed version without its local suffix (2.13.0+cpu is 2.13.0), or None."""
    try:
        return importlib.metadata.version(package).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None

"""README's two commands on a machine that has nothing: Debian's base system with Python, make and git, in a chroot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.commands import ROOT, commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * 3600)]
NEEDED = "python3,python3-venv,make,git,ca-certificates"  # what README asks for
MOUNTED = """
set -eu
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
for place in $2; do
  if test -e "$1$place"; then :
  elif test -d "$place"; then mkdir -p "$1$place"; else mkdir -p "$1$(dirname "$place")"; touch "$1$place"; fi
  mount --bind "$place" "$1$place"
  mount -o remount,bind,ro "$1$place"  # what is installed there changes nothing here
done
shift 2
exec "$@"
"""


def inside(machine: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a command there, with no more of this machine than its way to the package registries."""
    # Its mounts are those of a process of its own, so they end with it.
    mounting = ["unshare", "--mount", "--propagation", "private", "bash", "-c", MOUNTED, "-", str(machine), _shared()]
    proxies = ("http_proxy", "https_proxy", "no_proxy")
    settings = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("PIP_") or name in proxies]
    plain = ["env", "-i", "HOME=/root", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *settings]
    return subprocess.run(
        [*mounting, "chroot", str(machine), *plain, "bash", "-ec", f"cd /tracer && {command}"],
        capture_output=True,
        encoding="utf-8",
    )


def _shared() -> str:
    """The files that say where packages come from, and the folders of packages that pip's settings name."""
    places = [Path("/etc") / name for name in ("resolv.conf", "hosts", "pip.conf", "xdg/pip", "ssl/certs")]
    places += [Path("/etc/apt/apt.conf.d"), Path.home() / ".config/pip"]
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, encoding="utf-8")
    for scheme, path in re.findall(r"(file://)?(/[^\s'\"/][^\s'\"]*)", asked.stdout):
        places.append(Path(path).parent if scheme else Path(path))  # an index names files beside its own folder
    return " ".join(dict.fromkeys(str(place) for place in places if place.exists()))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of the machine, with a clone of what is committed; skipped where it cannot be made, with the reason."""
    if os.geteuid() != 0:
        pytest.skip("a chroot needs root")
    for tool in ("debootstrap", "unshare"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed: apt-get install debootstrap util-linux")
    root = tmp_path_factory.mktemp("machine")
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={NEEDED}", "bookworm", str(root)],
        capture_output=True,
        encoding="utf-8",
    )
    if made.returncode != 0:
        pytest.skip(f"debootstrap could not make a machine: {(made.stdout + made.stderr).strip()[-400:]}")
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root / "tracer")], check=True)
    tried = inside(root, "true")
    if tried.returncode != 0:
        pytest.skip(f"this machine does not allow mounts: {tried.stderr.strip()[-400:]}")
    yield root
    shutil.rmtree(root)


def test_the_two_commands_of_readme_on_a_fresh_machine(machine: Path) -> None:
    demo, test = commands(ROOT / "README.md")[:2]
    assert (demo, test) == ("make demo", "make test")
    nothing = inside(machine, "! command -v chromium && ! command -v pip && ! ls -d .venv data build")
    assert nothing.returncode == 0, nothing.stdout
    done = inside(machine, demo)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert "champion: tracer-planner version 1" in done.stdout
    assert (machine / "tracer/build/demo/seed0/online-stage2/results.jsonl").is_file()  # played, with its own Chromium
    done = inside(machine, test)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]

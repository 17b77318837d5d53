"""The images, built without Docker and run without root on an empty volume; `make images` does it.

Their base is made by debootstrap and the rest by buildah, both Debian's (`apt-get install buildah debootstrap`), as
root, from the registries of Debian and PyPI. The image `gpu` gets Debian below it instead of CUDA's base, which is on
neither: everything is installed as it would be there, and what runs without a GPU is run.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
pytestmark = [pytest.mark.slow, pytest.mark.network, pytest.mark.timeout(7200)]


class Builder:
    """buildah with its storage in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.options = ["--root", folder / "storage", "--runroot", folder / "run"]

    def __call__(self, command: str, *arguments: str | Path, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command of buildah's; what it prints."""
        called = ["buildah", *self.options, command, *arguments]
        done = subprocess.run(list(map(str, called)), capture_output=True, encoding="utf-8")
        assert done.returncode in codes, f"{called}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def base(self) -> str:
        """An image that is what Debian's own is: the packages that every system has."""
        root = self.folder / "root"
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root], check=True, stdout=subprocess.DEVNULL)
        container = self("from", "scratch").strip()
        self("add", "--quiet", container, root, "/")
        self("commit", "--quiet", "--rm", container, "localhost/debian:bookworm")
        shutil.rmtree(root)
        return "localhost/debian:bookworm"


def registries(folder: Path, target: str) -> list[str]:
    """Volumes that let a build reach the registries as pip does here: its settings, and the files that they name.

    `gpu` is not shown the wheels that lie here, since they may be builds for processors.
    """
    listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, encoding="utf-8")
    settings, found = {}, {str(folder / "pip.conf"): "/etc/pip.conf"}
    for name, quoted in (line.split("=", 1) for line in listed.stdout.splitlines()):
        value = quoted.strip("'\"")
        if target == "gpu" and "find-links" in name:
            continue
        if Path(value).is_absolute():  # not where it is here: a package may want to write there
            value = found.setdefault(value, f"/run/registry{len(found)}")
        if "file:" not in value:
            settings[name.removeprefix(":env:.").rpartition(".")[2]] = value
    lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
    (folder / "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [f"--volume={source}:{place}:ro" for source, place in found.items()]


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def container(target: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Builder, str]]:
    if os.geteuid() or not all(map(shutil.which, ("buildah", "debootstrap"))):
        pytest.fail("needs root, buildah and debootstrap: apt-get install buildah debootstrap")
    folder = tmp_path_factory.mktemp("images")
    buildah = Builder(folder)
    try:
        buildah(
            "bud", "--isolation=chroot", "--format=docker", f"--target={target}", "--pull-never", "--tag=tracer:test",
            f"--file={ROOT}/infra/docker/Dockerfile", f"--build-arg={target.upper()}_BASE={buildah.base()}",
            f"--build-arg=COMMIT={COMMIT}", *registries(folder, target), ROOT,
        )  # fmt: skip
        yield buildah, buildah("from", "--pull-never", "localhost/tracer:test").strip()
    finally:
        subprocess.run(["buildah", *map(str, buildah.options), "rm", "--all"], capture_output=True)
        subprocess.run(["umount", "--recursive", folder / "storage" / "overlay"], capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def test_it_runs_the_chain_without_root_on_an_empty_volume(
    container: tuple[Builder, str], target: str, tmp_path: Path
) -> None:
    buildah, name = container
    volume = tmp_path / "volume"
    volume.mkdir()
    shutil.chown(volume, 1000, 1000)  # as a volume of Kubernetes is with fsGroup

    def run(*command: str) -> str:
        start = "/opt/tracer/infra/docker/start.sh"
        return buildah("run", "--isolation=chroot", f"--volume={volume}:/var/lib/tracer", name, "--", start, *command)

    assert run("id", "-u").strip() == "1000"
    assert "Usage" in run("tracer", "--help")
    found = {each["name"]: each["ok"] for each in json.loads(run("sh", "-c", "tracer doctor --json || true"))}
    assert found["python"] and found["pins"] and found["data"]
    assert found["chromium"] == (target == "cpu")  # `gpu` trains; whoever plays episodes uses `cpu`
    run("tracer", "run", "--profile", "micro")
    lineage = json.loads((volume / "build/micro/seed0/stage2/lineage.json").read_text(encoding="utf-8"))
    assert lineage["git"]["commit"] == COMMIT
    assert (volume / "build/micro/seed0/report").is_dir()
    listed = {each["name"] for each in json.loads(run("cat", "sbom.json"))["components"]}
    assert {"torch", "dagster", "mlflow", *({"deepspeed", "torchvision", "vllm"} if target == "gpu" else ())} <= listed
    cuda = run("python", "-c", "import torch; print(torch.version.cuda)").strip()
    assert cuda.startswith("13.") or target == "cpu"
    assert not run("find", "/opt/tracer", "-name", ".git").strip()


def test_it_says_how_it_is_started_and_whether_it_is_well(container: tuple[Builder, str]) -> None:
    buildah, _ = container
    image = json.loads(buildah("inspect", "--type=image", "localhost/tracer:test"))["Docker"]["config"]
    assert image["User"] == "1000"
    assert image["Entrypoint"] == ["/opt/tracer/infra/docker/start.sh"]
    assert image["Healthcheck"]["Test"] == ["CMD", "infra/docker/healthy.sh"]
    assert image["Cmd"][:3] == ["dagster", "api", "grpc"]
    assert f"TRACER_COMMIT={COMMIT}" in image["Env"]

"""A team's checkout and all that runs there by a clock of its own: code server, daemon, registry; and their deaths."""

from __future__ import annotations

import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
import torch
import yaml
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from safetensors.torch import load_file, save_file

from pipelines.jobs import retrain
from pipelines.sensors import data_arrived, data_pinned, last_decision, run_failed, watch
from tests.checkouts import commit, dvc, run
from tests.quarter.arrivals import Recordings
from tests.services import free_port
from tracer.config import Config, load
from tracer.lineage.pins import pinned_md5
from tracer.registry import promotion
from tracer.registry.record import Decision
from tracer.training.heartbeat import read_heartbeat

ROOT = Path(__file__).parents[2]
PROFILE = "quarter"
NOISE = 0.5
"""How much the base is weakened: noise on every matrix of its language model, in its standard deviations."""
PATIENCE_SECONDS = 3600.0
MINUTE = 61


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """What a team's checkout runs on."""

    registry: str
    """MLflow's tracking URI."""
    remote: str
    """DVC's remote."""
    dagster: str
    """The settings of Dagster's instance."""
    environment: Mapping[str, str]
    """What the processes need to reach these."""
    crash: Callable[[], None] | None = None
    """Kills the database and starts it again; None where that is a file."""


class Clock:
    """What every process of the team takes for the time; it differs from the machine's by some seconds."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: apt-get install gcc")
        library, self._file, self._ahead = folder / "clock.so", folder / "clock", 0
        options = ["-O2", "-shared", "-fPIC", "-o", str(library), str(Path(__file__).with_name("clock.c"))]
        subprocess.run([compiler, *options, "-ldl"], check=True)
        self._file.write_bytes(struct.pack("q", 0))
        self.environment = {"LD_PRELOAD": str(library), "TEAM_CLOCK": str(self._file)}

    def forward(self, seconds: float) -> None:
        """Move it, for running processes too, which have the file mapped; back if ``seconds`` is negative."""
        self._ahead += round(seconds)
        with self._file.open("r+b") as file:
            file.write(struct.pack("q", self._ahead))

    def now(self) -> float:
        """Its time, in seconds since 1970."""
        return time.time() + self._ahead


class Team:
    """The checkout is the working folder."""

    def __init__(self, root: Path, stores: Stores, seed: int) -> None:
        self.root, self.stores, self.drawn = root, stores, random.Random(seed)
        self.recordings = Recordings(ROOT / "data" / "raw")
        self.said: list[str] = []
        self.kills: list[str] = []
        self.arrived: list[str] = []
        self.refused: set[str] = set()
        self.removed: set[str] = set()
        self.worse: set[int] = set()
        """The versions that were made of wrong recordings."""
        self.clock = Clock(root.parent)
        self.begun = self.clock.now()
        self.week = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DAGSTER_DAEMON_HEARTBEAT_TOLERANCE": str(10**9),  # weeks go by in a moment
            **stores.environment,
            **self.clock.environment,
        }

    def say(self, text: str) -> None:
        """Note what happened, and show it."""
        self.said.append(f"{self.day(self.clock.now())} week {self.week:2}: {text}")
        print(time.strftime("%H:%M:%S"), self.said[-1], flush=True)

    @staticmethod
    def day(seconds: float) -> str:
        """The day of a time since 1970 (UTC)."""
        return time.strftime("%Y-%m-%d", time.gmtime(seconds))

    def tracer(self, *arguments: str, expected: int | None = 0) -> str:
        """A ``tracer`` command as a person types it; what it said."""
        done = self.begin(*arguments)
        said, _ = done.communicate()
        assert expected in (None, done.returncode), f"tracer {' '.join(arguments)}: {done.returncode}\n{said}"
        return str(said)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, not waited for."""
        command = [sys.executable, "-m", "tracer", *arguments]
        return subprocess.Popen(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
        )

    # What runs all the time.

    def start(self, name: str, *command: str) -> None:
        """A server, whose log goes to ``<name>.log``."""
        with (self.root.parent / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", *command], env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )

    def serve(self) -> None:
        """Dagster's code server, with all sensors on, and its daemon."""
        port = free_port()
        self.start("code", "dagster", "api", "grpc", "--host", "127.0.0.1", "--port", str(port), "--module-name",
                   "pipelines.definitions", "--location-name", "tracer")  # fmt: skip
        location = {"grpc_server": {"host": "127.0.0.1", "port": port, "location_name": "tracer"}}
        (self.root.parent / "workspace.yaml").write_text(yaml.safe_dump({"load_from": [location]}))
        while not answers(port):
            assert self._processes["code"].poll() is None, "the code server died; see code.log"
            time.sleep(1)
        target = WorkspaceFileTarget(paths=[str(self.root.parent / "workspace.yaml")])
        with dg.DagsterInstance.get() as instance, WorkspaceProcessContext(instance, target) as workspace:
            (code,) = workspace.create_request_context().code_locations
            (repository,) = code.get_repositories().values()
            for sensor in (data_arrived, data_pinned, run_failed, watch):
                instance.start_sensor(repository.get_sensor(sensor.name))
        self.start_daemon()

    def start_daemon(self) -> None:
        """Dagster's daemon: sensors, queue, monitoring, retries."""
        self.start("daemon", "dagster._daemon", "run", "--workspace", "../workspace.yaml")

    def stop(self) -> None:
        """End everything."""
        for process in self._processes.values():
            family = [process, *psutil.Process(process.pid).children(recursive=True)] if process.poll() is None else []
            for member in family:
                member.kill()
            process.wait()

    # Waiting.

    @property
    def config(self) -> Config:
        """The configuration as it is in the checkout now."""
        return load(PROFILE)

    def runs(self) -> list[dg.DagsterRun]:
        """Those of Dagster that are under way."""
        with dg.DagsterInstance.get() as instance:
            return list(instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)))

    def until(self, what: str, done: Callable[[], Any], meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait; as long as nothing runs, a minute of the team's clock takes a second."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not done():
            assert time.monotonic() < end, f"{what} did not happen in {PATIENCE_SECONDS:.0f} s"
            assert self._processes["code"].poll() is None, "the code server ended by itself; see code.log"
            if self._processes["daemon"].poll() is not None:
                self.say("the daemon ended by itself, and is started again, as infra/compose.yaml does; see daemon.log")
                self.start_daemon()
            meanwhile()
            if not self.runs():
                self.clock.forward(MINUTE)
            time.sleep(1)

    def judged(self, arrival: Path) -> None:
        """Wait until an arrival is decided on."""
        self.until(f"a decision on {arrival}", lambda: not arrival.exists())

    def decided(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Wait until there is a decision on the data that is pinned now."""

        def done() -> bool:
            with dg.DagsterInstance.get() as instance:
                found = last_decision(instance, self.config)[1] == pinned_md5(Path("data.dvc"))
            return found and not self.runs()

        self.until("a decision on the pinned data", done, meanwhile)
        self.say(f"decided: {promotion.describe(self.last()).splitlines()[0]}")

    def last(self) -> Decision:
        """The last decision."""
        return promotion.history(self.config.registry)[-1]

    # Deaths.

    def kill(self, what: str, process: psutil.Process | subprocess.Popen[bytes]) -> None:
        """SIGKILL."""
        process.kill()
        process.wait(timeout=120)
        self.kills.append(what)
        self.say(f"killed: {what}")

    def kill_daemon(self) -> None:
        """Kill the daemon and start another."""
        self.kill("the daemon", self._processes["daemon"])
        self.start_daemon()

    def children(self, *words: str, without: str = "") -> list[psutil.Process]:
        """The processes of runs whose command line has all these words, and not the one."""
        found = []
        for process in psutil.Process(self._processes["code"].pid).children(recursive=True):
            try:
                line = process.cmdline()
            except psutil.Error:
                continue
            if all(word in line for word in words) and without not in line:
                found.append(process)
        return found

    def trainer_dies(self) -> Callable[[], None]:
        """What kills the trainer once, at a random step of a random stage."""
        config, stage = self.config, self.drawn.choice(["stage1", "stage2"])
        moment = self.drawn.randint(1, config.stage1.steps - 2)
        left = [f"the trainer of {stage}, after step {moment}"]

        def look() -> None:
            found = self.children("train", stage, without="pipelines.supervisor")
            beat = read_heartbeat(config.out(stage)) if left and found else None
            if beat is not None and beat.get("step") is not None and beat["step"] >= moment:
                self.kill(left.pop(), found[0])

        return look

    def run_dies(self) -> Callable[[], None]:
        """What kills the process of a retraining once, some seconds after it began."""
        moment, since, left = self.drawn.uniform(5, 40), list[float](), ["the process of the run"]

        def look() -> None:
            under_way = [each for each in self.runs() if each.job_name == retrain.name]
            workers = [each for each in self.children() if any("spawn_main" in word for word in each.cmdline())]
            if not left or not workers or not any(each.status == dg.DagsterRunStatus.STARTED for each in under_way):
                return
            since.append(time.monotonic())
            if since[-1] - since[0] >= moment:
                self.kill(f"{left.pop()}, {moment:.0f} s after it began", workers[0])

        return look

    def database_dies(self) -> Callable[[], None]:
        """What kills the database once, some seconds after a retraining began."""
        crash, moment, since = self.stores.crash, self.drawn.uniform(5, 60), list[float]()
        left = [crash] if crash else []

        def look() -> None:
            if left and any(each.job_name == retrain.name for each in self.runs()):
                since.append(time.monotonic())
                if since[-1] - since[0] >= moment:
                    left.pop()()
                    self.kills.append(f"the database, {moment:.0f} s after a run began")
                    self.say(f"killed: {self.kills[-1]}")

        return look

    # People.

    def arrives(self, name: str) -> Path:
        """Where an arrival comes to be in the inbox."""
        self.arrived.append(f"week-{self.week:02}-{name}")
        return Path(self.config.batches.inbox) / self.arrived[-1]

    def set_steps(self, steps: int) -> None:
        """Somebody trains longer, and commits it."""
        params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        for stage in ("stage1", "stage2"):
            params["profiles"][PROFILE][stage]["steps"] = steps
        Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
        run("git", "commit", "--quiet", "--all", "--message", f"{steps} steps")
        self.say(f"somebody trains {steps} steps from now on")


def answers(port: int) -> bool:
    """Whether somebody listens on a port of the loopback interface."""
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def weakened(base: Path, to: Path) -> None:
    """A copy of a base planner with noise on its language model's matrices."""
    shutil.copytree(base / "model", to / "model")
    path = to / "model" / "model.safetensors"
    weights, drawn = load_file(path), torch.Generator().manual_seed(0)
    for name, tensor in weights.items():
        if name.startswith("language_model") and tensor.ndim == 2:
            weights[name] = tensor + NOISE * tensor.std() * torch.randn(tensor.shape, generator=drawn)
    save_file(weights, path, metadata={"format": "pt"})


@contextmanager
def founded(root: Path, stores: Stores, seed: int) -> Iterator[Team]:
    """A team in a new checkout, which is the working folder; what it starts ends with it."""
    for name in ("tracer", "pipelines"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "mlflow", root / "mlflow")
    shutil.copy(ROOT / "constraints.txt", root)
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params = {"profile": PROFILE, "profiles": {PROFILE: params["profiles"][PROFILE]}}
    params["profiles"][PROFILE]["registry"]["tracking_uri"] = stores.registry
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (root / ".dagster").mkdir()
    (root / ".dagster" / "dagster.yaml").write_text(stores.dagster, encoding="utf-8")
    shutil.copy(ROOT / ".gitignore", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("DAGSTER_HOME", str(root / ".dagster"))
        patch.setenv("DVC_NO_ANALYTICS", "1")
        for name, value in stores.environment.items():
            patch.setenv(name, value)
        team = Team(root, stores, seed)
        weakened(ROOT / "data" / "base", root / "data" / "base")
        team.recordings.begin(root / "data" / "raw")
        run("git", "init", "--quiet")
        for key, value in (("user.name", "team"), ("user.email", "team@example.org")):
            run("git", "config", key, value)
        dvc("init", "--quiet")
        dvc("remote", "add", "--quiet", "--default", "team", stores.remote)
        if "AWS_ENDPOINT_URL" in stores.environment:
            dvc("remote", "modify", "--quiet", "team", "endpointurl", stores.environment["AWS_ENDPOINT_URL"])
        dvc("add", "--quiet", "data")
        dvc("push", "--quiet")
        commit()
        try:
            yield team
        finally:
            team.stop()

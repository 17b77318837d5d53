"""A killed run is ended and gives its place in the pool back, and who holds one is said."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines import dead_runs
from pipelines.home import SETTINGS
from pipelines.resources import GPU, Tracer

JOB = """
import sys, time
import dagster as dg
from pathlib import Path
from pipelines.resources import Tracer

@dg.op(pool="gpu")
def hold(tracer: Tracer) -> None:
    Path("holding").touch()
    if not Path("go").exists():
        time.sleep(600)

@dg.job(executor_def=dg.in_process_executor, resource_defs={"tracer": Tracer()})
def holding() -> None:
    hold()
"""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)]))
    (tmp_path / "dagster.yaml").write_bytes(SETTINGS.read_bytes())
    (tmp_path / "held.py").write_text(JOB)
    with dg.DagsterInstance.get() as made:
        yield made


def execute() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "held", "-j", "holding"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")


def test_a_killed_dagster_job_execute_holds_the_gpu_no_longer_than_until_the_next_run(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    first = execute()
    deadline = time.monotonic() + 400
    while not (tmp_path / "holding").exists():
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.2)
    (run,) = instance.get_runs()
    ((holder),) = dead_runs.holders(instance, GPU, besides="another")
    assert run.run_id in holder and f"/{first.pid}/" in holder and "holding (started" in holder
    dead_runs.end_dead_runs(instance)
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.STARTED, "it lives"
    first.send_signal(signal.SIGKILL)
    first.wait()
    (tmp_path / "go").touch()
    second = execute()
    shown, _ = second.communicate(timeout=400)
    assert second.returncode == 0, shown
    assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.CANCELED
    assert not list(dead_runs.holders(instance, GPU, besides=""))


def test_a_run_of_another_host_is_left_alone_and_one_of_the_daemon_too() -> None:
    assert dead_runs.alive("elsewhere/1/1")
    with dg.DagsterInstance.ephemeral() as instance:
        from dagster._core.test_utils import create_run_for_test

        dead = {dead_runs.PROCESS: f"{os.uname().nodename}/{2**22 + 1}/1"}
        status = dg.DagsterRunStatus.STARTED
        ours = create_run_for_test(instance, job_name="a", status=status, tags=dead)
        launched = create_run_for_test(instance, job_name="b", status=status, tags={**dead, dead_runs.LAUNCHED: "{}"})
        dead_runs.end_dead_runs(instance)
        found = {each.run_id: instance.get_run_by_id(each.run_id).status for each in (ours, launched)}
        assert found == {ours.run_id: dg.DagsterRunStatus.CANCELED, launched.run_id: status}


def test_every_run_that_takes_the_configuration_names_its_process(instance: dg.DagsterInstance) -> None:
    @dg.op
    def looks(context: dg.OpExecutionContext, tracer: Tracer) -> None:
        run = context.instance.get_run_by_id(context.run_id)
        assert run is not None and dead_runs.alive(run.tags[dead_runs.PROCESS])

    @dg.job(resource_defs={"tracer": Tracer()})
    def one() -> None:
        looks()

    assert one.execute_in_process(instance=instance).success

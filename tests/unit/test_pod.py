"""Pods of a small cluster (tests/cluster.py) through Dagster: what becomes of them is seen, said and made good."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster_k8s.job import get_job_name_from_run_id

from pipelines import pod as pods
from pipelines.processes import supervised
from tests.cluster import Cluster, Pod, serving
from tracer.capacity.pods import LABELS, spec

ROOT = Path(__file__).parents[2]
SCRIPT = """\
import pathlib, signal, sys, time
done = pathlib.Path({path!r})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
for number in range(len(done.read_text().split()) if done.exists() else 0, 6):
    print("step", number, flush=True)
    with done.open("a") as out:
        out.write(f"{{number}}\\n")
    time.sleep({seconds})
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    # What is waited for is waited for less; nothing here may take as long as the day that dagster-k8s would wait.
    monkeypatch.setattr(pods, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(pods, "SILENT_SECONDS", 1)
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    with serving(Cluster(ROOT), tmp_path / "kubeconfig") as found:
        yield found


def run(command: list[str], retries: int = 2) -> dg.ExecuteInProcessResult:
    """A step that runs a command in a pod, with the retry policy of the assets."""

    @dg.op(retry_policy=dg.RetryPolicy(max_retries=retries, delay=0.1))
    def step(context: dg.OpExecutionContext) -> None:
        pods.run(context, spec(0, 4.0, "image", supervised(command, 60, "python")), "tracer", "build/out")

    @dg.job
    def job() -> None:
        step()

    return job.execute_in_process(raise_on_error=False)


def steps(tmp_path: Path, seconds: float = 0.2) -> list[str]:
    """A command of six steps, which goes on where it was."""
    return [sys.executable, "-c", SCRIPT.format(path=str(tmp_path / "done"), seconds=seconds)]


def done(tmp_path: Path) -> list[int]:
    return [int(each) for each in (tmp_path / "done").read_text(encoding="utf-8").split()]


def until(true: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_that_succeeds_leaves_no_pod(cluster: Cluster, tmp_path: Path) -> None:
    assert run(steps(tmp_path, 0)).success
    assert done(tmp_path) == list(range(6))
    assert len(cluster.made) == 1 and not cluster.pods
    assert LABELS.items() <= cluster.made[0].labels.items()  # which the network policies know it by


@pytest.mark.parametrize(("code", "tries"), [(1, 1), (75, 2)])
def test_an_error_that_the_command_reports_is_not_tried_again(cluster: Cluster, code: int, tries: int) -> None:
    found = run(["sh", "-c", f"echo why; exit {code}"], retries=1)
    assert not found.success and len(cluster.made) == tries and not cluster.pods
    message = found.get_step_failure_events()[0].event_specific_data.error.to_string()
    assert f"ended with code {code}" in message and "why" in message


@pytest.mark.parametrize("happens", ["gone", "drained", "unreachable"])
def test_a_pod_that_is_lost_is_noticed_and_the_next_one_goes_on(cluster: Cluster, tmp_path: Path, happens: str) -> None:
    def strike() -> None:
        until(lambda: (tmp_path / "done").exists() and len(done(tmp_path)) == 3)
        getattr(cluster, happens)(cluster.made[0])

    threading.Thread(target=strike, daemon=True).start()
    began = time.monotonic()
    assert run(steps(tmp_path)).success
    assert time.monotonic() - began < 20
    assert done(tmp_path) == list(range(6))
    assert len(cluster.made) == 2 and not cluster.pods


def test_a_pod_that_was_evicted_before_it_started_is_noticed(cluster: Cluster, tmp_path: Path) -> None:
    def born(document: dict[str, Any]) -> Pod:
        pod = Pod(document, ROOT, runs=bool(cluster.made))
        if not cluster.made:
            pod.status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        return pod

    cluster.born = born
    assert run(steps(tmp_path, 0)).success
    assert len(cluster.made) == 2


def test_a_log_stream_that_is_lost_is_taken_up_where_it_was(
    cluster: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.cut = lambda pod: 2 if pod.streams < 4 else None
    assert run(steps(tmp_path)).success
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("step ")]
    assert lines == [f"step {number}" for number in range(6)]
    assert cluster.made[0].streams > 3 and len(cluster.made) == 1


def test_an_image_that_cannot_be_pulled_is_said(cluster: Cluster) -> None:
    def born(document: dict[str, Any]) -> Pod:
        pod = Pod(document, ROOT, runs=False)
        pod.state({"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "image"'}})
        return pod

    cluster.born = born
    found = run(["true"], retries=1)
    assert not found.success and len(cluster.made) == 2 and not cluster.pods
    assert "Back-off pulling image" in found.get_step_failure_events()[0].event_specific_data.error.to_string()


def test_an_api_server_that_is_away_for_a_while_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    def strike() -> None:
        until(lambda: (tmp_path / "done").exists())
        cluster.away = 5

    threading.Thread(target=strike, daemon=True).start()
    assert run(steps(tmp_path)).success
    assert len(cluster.made) == 1


def test_two_pods_never_write_into_one_folder(cluster: Cluster, tmp_path: Path) -> None:
    """What a run left behind whose own pod was lost is ended before the next one begins."""
    left = threading.Thread(target=run, args=(steps(tmp_path, 30),), daemon=True)
    left.start()
    until(lambda: (tmp_path / "done").exists())
    first = cluster.made[0]
    assert not first.ended
    assert run(steps(tmp_path, 0)).success
    assert first.ended and done(tmp_path) == list(range(6))


@pytest.mark.parametrize("happens", ["failed", "deleted", "unreachable"])
def test_a_run_whose_own_pod_is_lost_ends(cluster: Cluster, tmp_path: Path, happens: str) -> None:
    """As the daemon looks after the runs of the chart's launcher, with the values of infra/k8s/values.yaml."""
    values = yaml.safe_load((ROOT / "infra/k8s/values.yaml").read_text(encoding="utf-8"))
    monitoring = values["dagsterDaemon"]["runMonitoring"]
    launcher = {"service_account_name": "dagster", "job_image": "image", "dagster_home": "/opt/dagster",
                "instance_config_map": "dagster-instance",
                "postgres_password_secret": "tracer-postgres",  # pragma: allowlist secret
                "job_namespace": "tracer", "load_incluster_config": False,
                "kubeconfig_file": str(tmp_path / "kubeconfig")}  # fmt: skip
    settings = {
        "run_launcher": {"module": "dagster_k8s", "class": "K8sRunLauncher", "config": launcher},
        "run_monitoring": {"enabled": monitoring["enabled"], "poll_interval_seconds": monitoring["pollIntervalSeconds"],
                           "start_timeout_seconds": monitoring["startTimeoutSeconds"]},
    }  # fmt: skip
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run_id = "0b8a7c4e-2f0b-4d0e-9a53-3a2f6f4f5a10"
        instance.add_run(dg.DagsterRun(job_name="retrain", run_id=run_id, status=dg.DagsterRunStatus.STARTED))
        name = get_job_name_from_run_id(run_id)
        cluster.jobs[name] = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
                              "status": {"active": 1}}  # fmt: skip
        context: Any = SimpleNamespace(instance=instance, create_request_context=lambda: None)

        def look() -> dg.DagsterRunStatus:
            list(execute_run_monitoring_iteration(context, logging.getLogger("test")))
            run = instance.get_run_by_id(run_id)
            assert run is not None
            return run.status

        assert look() == dg.DagsterRunStatus.STARTED
        if happens == "failed":  # evicted: the job makes no other pod (backoffLimit 0)
            cluster.jobs[name]["status"] = {"failed": 1}
        elif happens == "deleted":
            del cluster.jobs[name]
        else:
            cluster.jobs[name]["status"] = {"active": 0, "failed": 1, "terminating": 1}
        assert look() == dg.DagsterRunStatus.FAILURE

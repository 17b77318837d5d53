"""The whole asset graph on the profile ``micro``: through Dagster Pipes and in one process, killed and run again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import torch
import yaml

from tracer import cli
from tracer.config import load
from tracer.dvc_yaml import dvc_yaml
from tracer.lineage.step import read_lineage

ROOT = Path(__file__).parents[2]
ERROR = dg.AssetCheckSeverity.ERROR
POLICY = {
    "confidence": 0.95,
    "resamples": 200,
    # Two steps of training make nothing better: what is shown here is that the gate decides, not what.
    "primary": {"name": "step", "evaluation": "evaluate", "item": ["trajectory", "step_index"], "cluster": "trajectory",
                "metric": "step", "min_gain": 0.0},
    "guards": [],
    "limits": [],
    "required": ["validation", "gate", "files"],
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the repository's parameters and data, where everything is made again."""
    folder = tmp_path_factory.mktemp("workspace")
    for name in ("params.yaml", "data", "data.dvc"):
        if not (ROOT / name).exists():
            pytest.fail(f"{name} is missing; `dvc pull` fetches the data")
        (folder / name).symlink_to(ROOT / name)
    (folder / "mlflow").mkdir()
    (folder / "mlflow" / "promotion.yaml").write_text(yaml.safe_dump(POLICY))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("DAGSTER_HOME", str(folder / ".dagster"))
        patch.setenv("PYTHONPATH", str(ROOT))
        # The number of threads decides the last bits: one in the processes that are started, and one in this.
        patch.setenv("OMP_NUM_THREADS", "1")
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield folder
        torch.set_num_threads(threads)


def materialise(build: str, mode: str, instance: dg.DagsterInstance, **tracer: Any) -> dg.ExecuteInProcessResult:
    from pipelines.definitions import defs

    settings = {
        "tracer": {
            "config": {
                "profile": "micro",
                "settings": [f"build={build}", "registry.enabled=true", *tracer.get("settings", [])],
            }
        },
        "trainer": {"config": {"mode": mode}},
    }
    job = defs.resolve_job_def("retrain")
    return job.execute_in_process(instance=instance, run_config={"resources": settings}, raise_on_error=False)


@pytest.fixture(scope="module")
def piped(workspace: Path) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialise("piped", "subprocess", instance)
        assert result.success, failures(result)
        return result


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    from pipelines.demo import failures

    return failures(result)


def test_every_asset_is_materialised_and_every_check_ran(piped: dg.ExecuteInProcessResult) -> None:
    from pipelines.definitions import defs
    from pipelines.jobs import FLOW_GROUPS

    graph = defs.resolve_asset_graph()
    flow = {key for key in graph.materializable_asset_keys if graph.get(key).group_name in FLOW_GROUPS}
    made = {event.asset_key for event in piped.get_asset_materialization_events()}
    assert made == flow
    evaluations = piped.get_asset_check_evaluations()
    assert {check.asset_check_key for check in evaluations} == {
        k for k in graph.asset_check_keys if k.asset_key in flow
    }
    assert all(check.passed for check in evaluations if check.blocking)


def test_materialisations_carry_digests_and_pictures(workspace: Path, piped: dg.ExecuteInProcessResult) -> None:
    events = {
        event.asset_key.to_user_string(): event.materialization for event in piped.get_asset_materialization_events()
    }
    for asset, step in (("trajectories", "ingest"), ("stage1", "stage1"), ("evaluate_stage2", "evaluate-stage2")):
        lineage = read_lineage(Path("piped/micro/seed0") / step)
        assert (events[asset].tags or {})["dagster/data_version"] == lineage["output"]
    for asset, name in (
        ("trajectories", "screens"),
        ("stage1", "reward"),
        ("stage1", "rollouts"),
        ("evaluate_base", "forecasts"),
    ):
        assert "data:image/png;base64," in str(events[asset].metadata[name].value), f"{asset}/{name}"
    assert events["champion"].metadata["outcome"].value in ("promoted", "refused")


def test_dvc_compares_a_few_dozen_headline_figures(workspace: Path, piped: dg.ExecuteInProcessResult) -> None:
    """`dvc metrics show` prints a column for every name in these files."""
    listed = yaml.safe_load(dvc_yaml(load("micro")).replace("${profile}", "micro").replace("${seed}", "0"))["metrics"]
    files = [Path("piped", *Path(each).parts[1:]) for each in listed]
    columns = {name for file in files for name in json.loads(file.read_text(encoding="utf-8"))}
    assert {"test_step", "unparsable"} <= columns and len(columns) <= 48, sorted(columns)


@pytest.mark.slow
def test_in_one_process_the_same_steps_leave_the_same_bits(workspace: Path, piped: dg.ExecuteInProcessResult) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialise("alone", "in_process", instance)
    assert result.success, failures(result)
    for step in ("ingest", "stage1", "stage2", "evaluate-stage2"):
        there, here = (read_lineage(Path(build) / "micro" / "seed0" / step) for build in ("piped", "alone"))
        assert (here["digest"], here["output"]) == (there["digest"], there["output"]), step
    versions = {
        event.materialization.metadata["version"].value
        for run in (piped, result)
        for event in run.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey("registered_model")
    }
    assert versions == {1}


def test_a_second_run_finds_everything_finished(workspace: Path, piped: dg.ExecuteInProcessResult) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path("piped").rglob("lineage.json")}
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialise("piped", "subprocess", instance)
    assert result.success
    assert {path: path.stat().st_mtime_ns for path in Path("piped").rglob("lineage.json")} == before
    champion = next(e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey("champion"))
    first = next(e for e in piped.get_asset_materialization_events() if e.asset_key == dg.AssetKey("champion"))
    assert champion.materialization.metadata["outcome"] == first.materialization.metadata["outcome"]


def test_a_closed_gate_stops_what_comes_after(workspace: Path, piped: dg.ExecuteInProcessResult) -> None:
    """A limit that stage 1 does not meet: stage 2 is not trained, nothing is registered."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = materialise(
            "piped", "subprocess", instance, settings=["gates.max_dead_groups=0", "gates.max_unparsable=0"]
        )
    assert not result.success
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    # So little data is warned of, which closes nothing.
    assert {check.asset_key.to_user_string() for check in failed if check.severity is ERROR} == {"stage1"}
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert not made & {"stage2", "evaluate_stage1", "registered_model", "champion", "report"}
    assert any("stage1" in line for line in failures(result))


@pytest.mark.slow
def test_nothing_outlives_a_killed_run(workspace: Path) -> None:
    """SIGKILL leaves no time to clean up, and yet training ends; the next run goes on and ends the same."""
    command = [sys.executable, "-c", RUN.format(root=str(ROOT))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    trained = wait_for_training(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 30
    while alive(trained) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not alive(trained), "training outlived the run that started it"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["steps"]["stage2"]["metrics"] and found["report"] and "champion" in found
    # The killed run is closed, and holds no place in the pool of the GPU.
    with dg.DagsterInstance.get() as instance:
        assert {run.status.value for run in instance.get_runs()} == {"CANCELED", "SUCCESS"}


# A process started in the background of a shell inherits that it ignores Ctrl-C.
RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {root!r})
from tracer.cli import main
sys.exit(main(["demo", "--json", "--profile", "micro", "--set", "build=killed", "--set", "registry.enabled=true"]))
"""


def wait_for_training(process: subprocess.Popen[str]) -> list[int]:
    """The processes of the first training step, once it has begun."""
    import psutil

    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[0][-3000:]
        started = Path("killed/micro/seed0/stage1/.started.json")
        if started.exists():
            return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        time.sleep(0.05)
    raise AssertionError("training did not begin")


def alive(pids: list[int]) -> bool:
    import psutil

    return any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def test_ctrl_c_ends_the_training_and_says_how_to_go_on(workspace: Path) -> None:
    """The terminal's signal reaches this process alone: training is in a group of its own, and has to be ended."""
    config = load("micro", ["build=ended", "registry.enabled=true"])
    code = RUN.format(root=str(ROOT)).replace("killed", "ended")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs, such as a CI's, ignore SIGINT, and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    started = config.out("stage1") / ".started.json"
    deadline = time.monotonic() + 300
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    import psutil

    trained = [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    assert trained and json.loads(started.read_text())["step"] == "stage1"
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said[-3000:]
    assert cli.INTERRUPTION in said
    assert not alive(trained)

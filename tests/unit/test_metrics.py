"""What Prometheus reads of training, the queue and serving, and the dashboard that shows it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import dagster as dg
import pytest

from pipelines import metrics
from pipelines.assets.training import figures
from tracer import cli, json_lines
from tracer.config import Config
from tracer.json_files import write_json
from tracer.lineage.digest import STARTED
from tracer.registry import record
from tracer.serving.metrics import Metrics
from tracer.training.heartbeat import HEARTBEAT, Heartbeat

DASHBOARD = Path(__file__).parents[2] / "infra" / "grafana" / "tracer.json"
TYPE = re.compile(r"^# TYPE (\w+)", re.MULTILINE)


def stage(build: Path, name: str, seed: int = 0) -> Path:
    """A stage's folder half-way."""
    out = build / "tiny" / f"seed{seed}" / name
    heartbeat = Heartbeat(out, steps=40)
    write_json(out / STARTED, {"digest": "0123456789abcdef" * 4})
    heartbeat.metrics = {"reward": 0.5, "loss": -0.25, "dead_groups": 0.125, "memory_bytes": 3 << 30}
    heartbeat.beat("selecting: state 3 of 9", 7)
    return out


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    (tmp_path / "inbox" / "monday").mkdir(parents=True)
    sections = {
        "registry": {"tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"},
        "batches": {"inbox": str(tmp_path / "inbox")},
    }
    return Config.model_validate({"profile": "tiny", "build": str(tmp_path / "build"), **sections})


def decision(version: int, champion: int | None, decided: str) -> record.Decision:
    return record.Decision(
        outcome="promoted", model="m", version=version, incumbent="base", champion=champion, checks=(), reason="",
        digest=str(version), previous="", decided=decided, by="me",
    )  # fmt: skip


def test_a_stage_tells_its_step_its_metrics_and_its_digest(tmp_path: Path) -> None:
    stage(tmp_path, "stage1")
    old = stage(tmp_path, "stage2", seed=3)
    beat = json.loads((old / HEARTBEAT).read_text(encoding="utf-8"))
    write_json(old / HEARTBEAT, {**beat, "time": time.time() - 2 * metrics.LATELY_SECONDS})
    lines = "\n".join(map(str, metrics.training(tmp_path))).splitlines()
    labels = 'profile="tiny",seed="0",stage="stage1"'
    for expected in (
        f'tracer_stage_info{{{labels},digest="0123456789ab",doing="selecting"}} 1',
        f"tracer_stage_step{{{labels}}} 7",
        f"tracer_stage_steps{{{labels}}} 40",
        f"tracer_stage_reward{{{labels}}} 0.5",
        f"tracer_stage_loss{{{labels}}} -0.25",
        f"tracer_stage_dead_groups{{{labels}}} 0.125",
        f"tracer_stage_memory_bytes{{{labels}}} 3221225472",
    ):
        assert expected in lines
    assert not any("stage2" in line or line.startswith("tracer_stage_tokens_per_second{") for line in lines)


def test_dagster_shows_the_speed_that_only_the_heartbeat_has(tmp_path: Path) -> None:
    out = stage(tmp_path, "stage1")
    heartbeat = Heartbeat(out, steps=40)
    heartbeat.metrics = {"tokens_per_second": 80.0, "memory_bytes": 1, "step_time": 2.0}
    heartbeat.beat("saving", 40)
    json_lines.write(out / "metrics.jsonl", [{"loss": 0.5, "reward": 1.0}])
    assert figures(out) == {"metric/loss": 0.5, "metric/tokens_per_second": 80.0}


def test_the_queue_tells_what_waits_what_failed_and_who_is_champion(config: Config, tmp_path: Path) -> None:
    @dg.op
    def fail() -> None:
        raise ValueError("no")

    @dg.job
    def failing() -> None:
        fail()

    @dg.job(name="retrain")
    def done() -> None:
        pass

    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        failing.execute_in_process(instance=instance, raise_on_error=False)
        done.execute_in_process(instance=instance)
        shown = "\n".join(map(str, metrics.runs(instance)))
    assert 'tracer_runs{status="failed"} 1' in shown and 'tracer_runs{status="queued"} 0' in shown
    (last,) = re.findall(r'success_timestamp_seconds\{job="retrain"\} (\S+)', shown)
    assert 0 <= time.time() - float(last) < 600 and 'job="add_batch"' not in shown
    assert record.append(config.registry, decision(1, 1, "2026-11-30T18:00:00+00:00"))
    shown = "\n".join(map(str, metrics.registry(config)))
    assert "tracer_batches_waiting 1\n" in shown and "tracer_registry_up 1\n" in shown
    assert 'tracer_champion_since_timestamp_seconds{version="1"} 1796061600' in shown
    silent = config.model_copy(
        update={"registry": config.registry.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})}
    )
    assert "tracer_registry_up 0\n" in "\n".join(map(str, metrics.registry(silent)))


def test_a_champion_is_as_old_as_the_decision_that_made_it_one() -> None:
    at = ("2026-11-01T00:00:00+00:00", "2026-11-02T00:00:00+00:00", "2026-11-03T00:00:00+00:00")
    made = [decision(1, 1, at[0]), decision(2, 2, at[1]), decision(3, 2, at[2])]
    entries = tuple(record.Entry(decision=each, fingerprint="", number=1) for each in made)
    crowned = [metrics.crowned(record.Record(entries=entries[:end], damage={})) for end in range(4)]
    assert crowned == [0.0, 1793491200.0, 1793577600.0, 1793577600.0]


def test_the_dashboard_shows_every_metric_and_no_other(config: Config) -> None:
    unregistered = config.model_copy(update={"registry": config.registry.model_copy(update={"enabled": False})})
    exported = set(TYPE.findall(metrics.text(unregistered) + Metrics().text("m/1", True)))
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    shown = {
        name
        for panel in board["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"tracer_\w+", target["expr"])
    }
    assert shown == exported
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids)) and all(set(panel["gridPos"]) == {"h", "w", "x", "y"} for panel in board["panels"])


def test_the_command_writes_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("profile: tiny\nprofiles: {tiny: {}}\n", encoding="utf-8")
    stage(tmp_path / "build", "stage1")
    assert cli.main(["metrics", "--no-queue", "--out", "tracer.prom"]) == 0
    assert 'stage="stage1"} 7\n' in (tmp_path / "tracer.prom").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.glob("*.prom*")] == ["tracer.prom"] and not (tmp_path / ".dagster").exists()
    assert cli.main(["metrics", "--every", "5"]) == 2

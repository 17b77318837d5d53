"""What a stage tells while it trains: MLflow has every step's metrics and rollouts, and the result is the same."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import mlflow
import pytest

from tests.planners import micro_config, trajectories, write_base
from tracer import flow, json_lines
from tracer.lineage import step
from tracer.lineage.step import read_lineage
from tracer.registry import live, tracking
from tracer.training import stage1
from tracer.training.errors import TrainingStopped


def test_mlflow_has_every_steps_metrics_and_rollouts_and_the_planner_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_MAX_LOG_PARAMS", "replaced by the stage")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.5")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLES_BEFORE_LOGGING", "1")
    shards = trajectories(tmp_path / "data")
    base = write_base(tmp_path / "base", shards, image=False, steps=4)
    told = micro_config(
        base,
        image=False,
        launch={"report_to": ["mlflow"]},
        registry={"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db", "experiment": "ours"},
    )
    quiet = stage1.STAGE.train(micro_config(base, image=False), shards, base, tmp_path / "quiet" / "stage1")
    out = tmp_path / "told" / "stage1"
    train = flow.step("stage1")

    class Killed(RuntimeError):
        """What ends the first attempt."""

    with pytest.MonkeyPatch.context() as patch, pytest.raises((Killed, TrainingStopped)):
        patch.setattr("tracer.training.watch.health.collapse", lambda *_: (_ for _ in ()).throw(Killed()))
        train.make(told, {"ingest": shards, "base": base}, out)
    client = tracking.connect(told.registry)
    watched = client.get_experiment_by_name("ours-live")
    assert {run.info.status for run in client.search_runs([watched.experiment_id])} == {"FAILED"}
    dead = {tracking.WRITER: f"{socket.gethostname()}/{2**22 + 1}/1"}  # no process has so high an id
    another = client.create_run(watched.experiment_id, tags=dead).info.run_id
    hashed, parts_of = list[str](), step.parts_of
    monkeypatch.setattr(step, "parts_of", lambda name, **recipe: hashed.append(name) or parts_of(name, **recipe))
    for _ in range(2):  # the second finds it finished
        assert train.make(told, {"ingest": shards, "base": base}, out)["output"] == quiet["output"]
    assert hashed == ["stage1"] * 2, "a step's inputs are hashed once, who watches it asks for them no second time"
    assert mlflow.active_run() is None
    assert client.get_run(another).info.status == "KILLED", "the next stage ends the runs of those that were killed"
    client.delete_run(another)
    assert watched.tags["mlflow.experimentKind"] == "custom_model_development", "it opens on runs and charts"
    runs = client.search_runs([watched.experiment_id])
    (run,) = (each for each in runs if "mlflow.parentRunId" in each.data.tags)
    (chain,) = (each for each in runs if "mlflow.parentRunId" not in each.data.tags)
    assert (run.info.run_name, run.info.status, chain.info.status) == ("stage1 micro seed0", "FINISHED", "FINISHED")
    assert run.data.tags["mlflow.parentRunId"] == chain.info.run_id
    assert "profile `micro`, seed 0" in run.data.tags["mlflow.note.content"]
    assert run.data.params["stage1.steps"] == str(told.stage1.steps) and "optim" not in run.data.params
    assert chain.data.metrics["stage1/reward_last"] == read_lineage(out)["metrics"]["reward_last"]
    history = json_lines.read(out / "metrics.jsonl")
    for name in ("loss", "reward", "rewards/align/mean", "rewards/repetition/mean", "dead_groups", "entropy"):
        logged = {each.step: each.value for each in client.get_metric_history(run.info.run_id, name)}
        assert [logged[step] for step in sorted(logged)] == pytest.approx([row[name] for row in history])
    assert {"num_tokens", "tokens_per_second", "system/cpu_utilization_percentage"} <= set(run.data.metrics)
    table = json.loads(Path(client.download_artifacts(run.info.run_id, "rollouts/step-00000.json")).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == len(json_lines.read(out / "samples" / "step-00000.jsonl")), "resumed, and not twice"
    assert "\nhistory" in rows[0]["prompt"]
    assert set(json.loads(rows[0]["parts"])) == {"align", "repetition"}
    assert str(live.page(told, read_lineage(out)["digest"])).endswith(run.info.run_id)

"""What a stage tells while it trains: MLflow has the metrics of every step, and the result is the same."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from tests.planners import micro_config, trajectories, write_base
from tracer import json_lines
from tracer.training import stage1


def test_mlflow_has_every_steps_metrics_and_the_planner_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TAGS"):
        monkeypatch.setenv(name, "replaced by the stage")
    shards = trajectories(tmp_path / "data")
    base = write_base(tmp_path / "base", shards, image=False, steps=4)
    quiet = micro_config(base, image=False)
    address = f"sqlite:///{tmp_path}/mlflow.db"
    told = micro_config(
        base, image=False, launch={"report_to": ["mlflow"]}, registry={"tracking_uri": address, "experiment": "ours"}
    )
    mlflow.set_tracking_uri(address)
    outputs = [
        stage1.STAGE.train(config, shards, base, tmp_path / name / "stage1")["output"]
        for name, config in (("quiet", quiet), ("told", told))
    ]
    assert outputs[0] == outputs[1]
    assert mlflow.active_run() is None
    client = mlflow.MlflowClient(address)
    (run,) = client.search_runs([client.get_experiment_by_name("ours-live").experiment_id])
    assert (run.info.run_name, run.info.status) == ("stage1 micro seed0", "FINISHED")
    assert run.data.tags["tracer.step"] == "stage1"
    history = json_lines.read(tmp_path / "told" / "stage1" / "metrics.jsonl")
    for name in ("loss", "reward", "rewards/align/mean", "rewards/repetition/mean", "dead_groups", "entropy"):
        logged = client.get_metric_history(run.info.run_id, name)
        assert [each.value for each in logged] == pytest.approx([row[name] for row in history])
    assert client.get_metric_history(run.info.run_id, "num_tokens")

"""Dagster's job on an arrival: one batch or one refusal, observed with its report, and alerted where it matters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines import jobs
from pipelines.assets.data import observed, raw_episodes
from pipelines.jobs import add_batch
from pipelines.resources import Tracer
from tests.unit.test_batches import arrives, checkout, commits, made, unlike  # noqa: F401
from tracer.lineage.pins import pinned_md5


@pytest.fixture
def alerted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    sent: list[str] = []
    monkeypatch.setattr(jobs.alerts, "send", lambda kind, text: sent.append(kind))
    yield sent


def run(instance: dg.DagsterInstance, path: Path) -> dg.ExecuteInProcessResult:
    resource = Tracer(settings=["registry.tracking_uri=sqlite:///mlflow.db"])
    config = {"ops": {"judge": {"config": {"path": str(path)}}}}
    return add_batch.execute_in_process(instance=instance, run_config=config, resources={"tracer": resource})


def test_an_arrival_becomes_a_batch_and_an_observation(checkout: Path, alerted: list[str]) -> None:  # noqa: F811
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(instance, arrives("monday", range(40, 48))).success
        assert observed(instance, raw_episodes.key) == pinned_md5(Path("data.dvc"))
        assert not alerted and len(commits()) == 2
        record = instance.get_latest_data_version_record(raw_episodes.key)
        assert record is not None and record.asset_observation is not None
        about = {name: value.value for name, value in record.asset_observation.metadata.items()}
        assert about["accepted"] and "data:image/png;base64" in str(about["drift"])
        assert "8 train" in str(about["report"]) and about["drift/goal_length"] < 0.5
        import mlflow

        logged = mlflow.MlflowClient("sqlite:///mlflow.db").get_run(str(about["mlflow_run"]))
        assert logged.data.metrics["drift/goal_length"] == about["drift/goal_length"]
        assert run(instance, Path("inbox/monday")).success, "decided on, and killed before it could say so"
        assert len(commits()) == 2


def test_a_refusal_is_no_failure_and_is_alerted(checkout: Path, alerted: list[str]) -> None:  # noqa: F811
    with dg.DagsterInstance.ephemeral() as instance:
        assert run(instance, arrives("few", range(40, 42))).success
        assert run(instance, arrives("other", range(40, 50), unlike)).success
        assert alerted == ["batch refused", "drift"] and commits() == ["work"]
        assert observed(instance, raw_episodes.key) is None

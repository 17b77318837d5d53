"""What a team's machines share: Dagster's state in PostgreSQL, DVC's remote in S3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from tests import services

INFRA = Path(__file__).parents[2] / "infra"
pytestmark = pytest.mark.slow


@dg.op
def count() -> int:
    return 1


@dg.job
def counting() -> None:
    count()


def test_dagster_keeps_its_runs_in_postgres(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(INFRA / "dagster-postgres.yaml", tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_LOGS", str(tmp_path / "logs"))
    with services.postgres("dagster") as at:
        for key, value in {**at, "db": "dagster"}.items():
            monkeypatch.setenv(f"DAGSTER_POSTGRES_{key.upper()}", str(value))
        with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
            run = counting.execute_in_process(instance=instance).run_id
        with dg.DagsterInstance.from_config(str(tmp_path)) as again:
            assert [(each.run_id, each.is_success) for each in again.get_runs()] == [(run, True)]
            assert any(entry.dagster_event and entry.dagster_event.is_step_success for entry in again.all_logs(run))


def test_data_goes_to_a_remote_in_s3_and_comes_back(tmp_path: Path) -> None:
    with services.s3() as environment:

        def dvc(*words: str) -> None:
            command = [sys.executable, "-m", "dvc", *words]
            done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True)
            assert done.returncode == 0, done.stderr.decode()

        data = tmp_path / "data"
        data.mkdir()
        (data / "episodes.jsonl").write_text("{}\n", encoding="utf-8")
        dvc("init", "--no-scm", "--quiet")
        dvc("remote", "add", "--default", "team", f"s3://{services.BUCKET}/dvc")
        dvc("remote", "modify", "team", "endpointurl", environment["AWS_ENDPOINT_URL"])
        dvc("add", "data")
        dvc("push")
        shutil.rmtree(data)
        shutil.rmtree(tmp_path / ".dvc" / "cache")
        dvc("pull")
        assert (data / "episodes.jsonl").read_text(encoding="utf-8") == "{}\n"

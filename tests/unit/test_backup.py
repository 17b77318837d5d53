"""A backup, and its way back on a machine that has nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import checkouts, traced
from tracer import cli
from tracer.lineage.digest import content_digest
from tracer.lineage.pins import check_pin
from tracer.registry import backup, copied, promotion, rebuild, record, tracking, verify, versions
from tracer.settings import ConfigError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A champion and, rolled back, one that was made of other data; nothing pins the first one's data any more."""
    root = tmp_path_factory.mktemp("backed-up") / "checkout"
    with checkouts.retrained(root):
        promotion.rollback(checkouts.config().registry, "it buys things")
    return root


@pytest.fixture
def checkout(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return checkouts.copied(original, tmp_path / "team", monkeypatch)


def test_a_restored_registry_is_whole_on_an_empty_machine(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "backup"
    before = promotion.history(checkouts.config().registry)
    found = backup.backup(checkouts.config(), folder)
    assert (found["versions"], found["champion"], len(found["data"])) == ([1, 2], 1, 2)
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(checkout.parent)  # the checkout, its registry and its remote

    checkouts.run("git", "clone", "--quiet", str(folder / backup.CODE), str(tmp_path / "new" / "checkout"))
    checkouts.enter(tmp_path / "new" / "checkout", monkeypatch)
    assert backup.restore(checkouts.config(), folder) == found
    config = checkouts.config()
    assert promotion.history(config.registry) == before
    champion = versions.version_of("tracer-planner@champion", config.registry)
    assert champion.version == 1 and versions.model(champion.uri, config.registry).is_relative_to(tmp_path / "new")
    assert check_pin(Path("data"), Path("data.dvc")) in found["data"]
    assert [finding for finding in verify.verify(config) if not finding.ok] == []  # its remote is filled again, too
    made = rebuild.document_of("tracer-planner/2", config.registry)
    checkouts.run("git", "cat-file", "-e", made["commit"])


def test_a_registry_is_not_overwritten_and_half_a_backup_is_refused(checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    backup.backup(checkouts.config(), folder)
    with pytest.raises(tracking.RegistryError, match=r"mlflow\.db is there"):
        backup.restore(checkouts.config(), folder)
    with pytest.raises(tracking.RegistryError, match="is not empty"):
        backup.backup(checkouts.config(), folder)
    (folder / backup.RECEIPT).unlink()
    with pytest.raises(ConfigError, match="not a whole one"):
        backup.restore(checkouts.config(), folder)


def test_data_that_are_nowhere_are_named(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree("../remote")
    shutil.rmtree(".dvc/cache")
    with pytest.raises(tracking.RegistryError, match="which version 1 was made of, are neither in DVC's cache nor"):
        backup.backup(checkouts.config(), tmp_path / "backup")


def test_data_that_only_a_remote_has_are_fetched(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(".dvc/cache")
    found = backup.backup(checkouts.config(), tmp_path / "backup")
    assert len(found["data"]) == 2
    stored = tmp_path / "backup" / backup.DATA / "files" / "md5"
    for md5 in found["data"]:
        assert (stored / md5[:2] / md5[2:]).is_file()


def test_a_registry_read_through_mlflows_interface_is_the_same(checkout: Path, tmp_path: Path) -> None:
    """As that of a server is backed up; with PostgreSQL and S3 behind it: tests/integration/test_server_registry.py."""
    registry = checkouts.config().registry
    client = tracking.connect(registry)
    every, before = versions.every(registry), promotion.history(registry)
    ids = {run for each in every for run in (each.run_id, *each.evaluations().values())}
    runs = [client.get_run(run).to_dictionary() for run in sorted(ids)]
    experiments = [client.get_experiment_by_name(name) for name in ("tracer", "tracer-promotions")]
    documents = [rebuild.document_of(each.uri, registry) for each in every]
    histories = [
        client.get_metric_history(run["info"]["run_id"], key) for run in runs for key in run["data"]["metrics"]
    ]
    models = [client.get_logged_model(each.model_id).to_dictionary() for each in every]
    owner = every[0].run_id
    traces = traced.logged(client, owner, tmp_path / "online-stage2")
    copied.copy(registry, tmp_path / "other" / "mlflow.db")
    shutil.rmtree("mlartifacts")
    Path("mlflow.db").rename("mlflow.away")
    other = registry.model_copy(update={"tracking_uri": f"sqlite:///{tmp_path}/other/mlflow.db"})
    assert promotion.history(other) == before and record.settle(other).champion == 1
    assert [replace(each, tags=dict(each.tags)) for each in versions.every(other)] == every
    assert [rebuild.document_of(each.uri, other) for each in every] == documents
    client = tracking.connect(other)
    place = str(Path("mlartifacts").resolve())

    def elsewhere(found: Any) -> Any:
        return json.loads(json.dumps(found, default=str).replace(place, f"{tmp_path}/other/mlartifacts"))

    assert [client.get_run(run["info"]["run_id"]).to_dictionary() for run in runs] == elsewhere(runs)
    logged = [client.get_logged_model(each.model_id).to_dictionary() for each in every]
    assert json.loads(json.dumps(logged, default=str)) == elsewhere(models)
    again = [client.get_metric_history(run["info"]["run_id"], key) for run in runs for key in run["data"]["metrics"]]
    assert [[dict(each) for each in found] for found in again] == [
        [dict(each) for each in found] for found in histories
    ]
    assert traced.found(client, owner) == traces
    for then in experiments:
        assert then is not None
        now = client.get_experiment(then.experiment_id)
        assert (now.name, now.tags, now.creation_time) == (then.name, then.tags, then.creation_time)
    for each in every:
        assert content_digest(versions.model(each.uri, other)) == each.tags[versions.WEIGHTS]
    assert int(client.create_model_version("tracer-planner", source=every[0].uri).version) == 3


def test_a_backup_is_not_restored_onto_a_server(checkout: Path, tmp_path: Path) -> None:
    config, folder = checkouts.config(), tmp_path / "backup"
    backup.backup(config, folder)
    elsewhere = config.registry.model_copy(update={"tracking_uri": "http://team:5000"})
    with pytest.raises(tracking.RegistryError, match="a backup becomes a local registry"):
        backup.restore(config.model_copy(update={"registry": elsewhere}), folder)


def test_the_commands(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = f"registry.tracking_uri=sqlite:///{checkout}/mlflow.db"
    assert cli.main(["backup", str(tmp_path / "backup"), "--set", uri]) == 0
    assert "tracer-planner, versions 1, 2, champion 1, made " in capsys.readouterr().out
    Path("mlflow.db").unlink()
    shutil.rmtree("mlartifacts")
    assert cli.main(["restore", str(tmp_path / "backup"), "--set", uri]) == 0
    assert "restored from" in capsys.readouterr().out
    assert record.whole(checkouts.config().registry).champion == 1

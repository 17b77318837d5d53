"""A backup, and its way back on a machine that has nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests import checkouts
from tracer import cli
from tracer.lineage.pins import check_pin
from tracer.registry import backup, promotion, rebuild, record, tracking, verify, versions
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


def test_a_server_has_backups_of_its_own(checkout: Path, tmp_path: Path) -> None:
    config = checkouts.config()
    elsewhere = config.registry.model_copy(update={"tracking_uri": "postgresql+psycopg2://team/mlflow"})
    with pytest.raises(tracking.RegistryError, match="pg_dump"):
        backup.backup(config.model_copy(update={"registry": elsewhere}), tmp_path / "backup")


def test_the_commands(checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = f"registry.tracking_uri=sqlite:///{checkout}/mlflow.db"
    assert cli.main(["backup", str(tmp_path / "backup"), "--set", uri]) == 0
    assert "tracer-planner, versions 1, 2, champion 1, made " in capsys.readouterr().out
    Path("mlflow.db").unlink()
    shutil.rmtree("mlartifacts")
    assert cli.main(["restore", str(tmp_path / "backup"), "--set", uri]) == 0
    assert "restored from" in capsys.readouterr().out
    assert record.whole(checkouts.config().registry).champion == 1

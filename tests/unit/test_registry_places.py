"""A registry that was moved works where it is, and a copied one leaves the original alone."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.folders import STATES, Chain
from tests.unit.test_promotion import empty_database  # noqa: F401
from tracer.config import Config
from tracer.lineage.digest import tree_digest
from tracer.registry import places, promotion, record, register, tracking, versions

POLICY = Path(__file__).parents[2] / "mlflow" / "promotion.yaml"
RIGHT, ONLINE = [1.0] * STATES, [1.0, 0.0] * 12


def config_of(folder: Path) -> Config:
    registry = {"tracking_uri": f"sqlite:///{folder}/mlflow.db", "policy": str(POLICY)}
    return Config.model_validate({"profile": "test", "data": {"pointer": ""}, "registry": registry})


@pytest.fixture
def original(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    """A folder whose name needs quoting, with a champion."""
    folder = tmp_path / "a team's_folder, 100%"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copy(empty_database, folder / "mlflow.db")
    config = config_of(folder)
    chain = Chain(config)
    register.register(config, config.out("stage2"), chain.stage2(1, RIGHT, ONLINE))
    assert promotion.promote(config, chain.base([0.0] * STATES, ONLINE), chain.ingest).promoted
    return folder


def use(folder: Path, number: int) -> None:
    """Read everything there is, and write another version."""
    config = config_of(folder)
    assert not record.read(config.registry).damage
    version = versions.version_of("tracer-planner@champion", config.registry)
    downloaded = versions.download(version.uri, config.registry)
    assert versions.weights(downloaded).is_dir() and downloaded.is_relative_to(folder)
    chain = Chain(config)
    made = register.register(config, config.out("stage2"), chain.stage2(number, RIGHT, ONLINE))
    assert versions.download(made.uri, config.registry).is_relative_to(folder)
    promotion.promote(config, chain.base([0.0] * STATES, ONLINE), chain.ingest)


def test_a_moved_checkout_works(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = original.rename(original.parent / "elsewhere")
    monkeypatch.chdir(moved)
    use(moved, 2)
    assert not original.exists()


def test_a_copied_checkout_never_writes_into_the_original(original: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = original.parent / "copy"
    shutil.copytree(original, copied)
    before = tree_digest(original)
    monkeypatch.chdir(copied)
    use(copied, 2)
    assert tree_digest(original) == before
    with closing(sqlite3.connect(copied / "mlflow.db")) as connection:
        for table, column in places.COLUMNS:
            for (place,) in connection.execute(f"SELECT {column} FROM {table}"):
                assert original.as_uri() not in (place or ""), (table, column)
    monkeypatch.chdir(original)
    use(original, 3)  # and the original goes on


def test_every_place_that_mlflow_stores_is_known(original: Path) -> None:
    with closing(sqlite3.connect(original / "mlflow.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        named = {
            (table, column)
            for table in tables
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall()
            for (value,) in connection.execute(f"SELECT {column} FROM {table}").fetchall()
            if isinstance(value, str) and places.artifacts(original / "mlflow.db").as_uri() in value
        }
    assert named <= set(places.COLUMNS) and named


def test_an_experiment_that_somebody_put_elsewhere_stays_there(original: Path, tmp_path: Path) -> None:
    client = tracking.connect(config_of(original).registry)
    client.create_experiment("own", artifact_location=(tmp_path / "own").as_uri())
    moved = original.rename(tmp_path / "elsewhere")
    client = tracking.connect(config_of(moved).registry)
    assert client.get_experiment_by_name("own").artifact_location == (tmp_path / "own").as_uri()
    found = client.get_experiment_by_name("tracer").artifact_location
    assert found == places.location(moved / "mlflow.db", "tracer")

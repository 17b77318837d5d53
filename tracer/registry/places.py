"""Where the registry keeps its files: beside its SQLite database, wherever that is.

MLflow writes absolute places into the database. After a checkout was moved they lead nowhere, and in a copy they lead
into the original, which the copy would write into. So connecting follows the database: places in the folder beside
where it was become places in the folder beside where it is. A server, or another database, knows its own places.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path
from urllib.parse import quote, unquote

from tracer.registry.settings import RegistryConfig

log = logging.getLogger(__name__)
SQLITE = "sqlite:///"
FOLDER = "mlartifacts"
COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""The columns of MLflow 3 that name places; ``tests/unit/test_places.py`` fails when a release adds one."""


def database(config: RegistryConfig) -> Path | None:
    """The SQLite database of the registry; None for a server, or another kind of database."""
    path = config.tracking_uri.partition("?")[0]
    return Path(path.removeprefix(SQLITE)).absolute() if path.startswith(SQLITE) else None


def absolute(config: RegistryConfig) -> str:
    """The registry's address as it is from any folder."""
    found = database(config)
    return config.tracking_uri if found is None else f"{SQLITE}{found}"


def artifacts(database: Path) -> Path:
    """The folder of the files that a database names."""
    return (database.parent / FOLDER).resolve()


def location(database: Path, experiment: str) -> str:
    """Where an experiment's files go, as MLflow is told."""
    return (artifacts(database) / experiment).as_uri()


@cache
def follow(database: Path) -> None:
    """``relocate``, once in a process: a database does not move under it."""
    relocate(database)


def relocate(database: Path) -> None:
    """Let the places in a database follow it to where it is."""
    if not database.is_file():
        return
    here = artifacts(database).as_uri()
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'experiments'").fetchone():
            return
        for there in sorted(_places(connection) - {here}):
            log.warning("the registry was moved here from %s, and so are the places in it", there)
            with connection:
                for table, column in COLUMNS:
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                        (here, len(there) + 1, len(there) + 1, f"{there}/"),
                    )


def stored(database: Path) -> set[Path]:
    """The folders of runs and of logged models that a database names."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        rows = connection.execute(
            "SELECT artifact_uri FROM runs UNION SELECT artifact_location FROM logged_models"
        ).fetchall()
    return {Path(unquote(place.removeprefix("file://"))) for (place,) in rows if place}


def _places(connection: sqlite3.Connection) -> set[str]:
    """The folders that ``location`` was told of for the experiments of this database."""
    found = set()
    for name, place in connection.execute("SELECT name, artifact_location FROM experiments"):
        end = f"/{quote(name)}"
        folder = (place or "").removesuffix(end)
        if folder != place and folder.endswith(f"/{FOLDER}"):
            found.add(folder)
    return found

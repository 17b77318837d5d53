"""Plays a team's quarter: ``python -m tests.quarter.play FOLDER [--weeks 13] [--seed 0] [--store sqlite|postgres]``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import services
from tests.quarter import after
from tests.quarter.team import ROOT, Stores, founded
from tests.quarter.weeks import WEEKS, play
from tracer.json_files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weeks", type=int, default=len(WEEKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    arguments = parser.parse_args()
    print(quarter(arguments.folder.resolve(), arguments.store, arguments.weeks, arguments.seed))


def quarter(folder: Path, store: str, weeks: int, seed: int) -> dict[str, Any]:
    """Play it in a new folder; what came of it, which is also in ``summary.json`` there."""
    root = folder / "checkout"
    root.mkdir(parents=True)
    with stores(store, folder) as found_on, founded(root, found_on, seed) as team:
        began = time.monotonic()
        play(team, weeks)
        found = after.look(team, weeks) | {"minutes": round((time.monotonic() - began) / 60)}
        write_json(folder / "summary.json", {"store": store, "seed": seed, **found, "story": team.said})
    return found


@contextmanager
def stores(store: str, folder: Path) -> Iterator[Stores]:
    """SQLite and folders, or PostgreSQL and S3."""
    if store == "sqlite":
        settings = (ROOT / "infra" / "dagster.yaml").read_text(encoding="utf-8")
        yield Stores(registry="sqlite:///mlflow.db", remote="../remote", dagster=settings, environment={})
        return
    settings = (ROOT / "infra" / "dagster-postgres.yaml").read_text(encoding="utf-8")
    with services.postgres("mlflow", "dagster") as at, services.s3() as environment:
        database = f"postgresql+psycopg2://{at['user']}:{at['password']}@{at['host']}:{at['port']}/mlflow"
        named = {f"DAGSTER_POSTGRES_{key.upper()}": str(value) for key, value in {**at, "db": "dagster"}.items()}
        with services.mlflow_server(database, environment, folder / "mlflow.log") as server:
            yield Stores(
                registry=server,
                remote=f"s3://{services.BUCKET}/dvc",
                dagster=settings,
                environment={**environment, **named, "DAGSTER_LOGS": str(folder / "logs")},
                crash=lambda: services.crash(at),
            )


if __name__ == "__main__":
    main()

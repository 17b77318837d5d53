"""Dagster's home: where runs and events are kept. ``python -m pipelines.home`` makes it and prints its path."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

DEFAULT = ".dagster"
SETTINGS = Path(__file__).parent.parent / "infra" / "dagster.yaml"


def home() -> Path:
    """``$DAGSTER_HOME``, or ``.dagster`` here, which is then set; with the settings of infra/ unless it has its own."""
    path = Path(os.environ.get("DAGSTER_HOME") or DEFAULT).resolve()
    path.mkdir(parents=True, exist_ok=True)
    if not (path / SETTINGS.name).exists():
        shutil.copy(SETTINGS, path)
    os.environ["DAGSTER_HOME"] = str(path)
    return path


if __name__ == "__main__":
    print(home())

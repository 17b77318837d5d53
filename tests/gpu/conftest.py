"""The GPU tests: marked ``gpu`` where they need CUDA; the others run the same code on the processor, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planners import trajectories


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectories(tmp_path_factory.mktemp("data"))

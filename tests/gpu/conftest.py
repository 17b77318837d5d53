"""The GPU tests: marked ``gpu`` where they need CUDA; the others run the same code on the CPU, small.

What reads images with Qwen3-VL's own processor needs torchvision, which never is beside a torch without CUDA (its
wheels are built for CUDA, and transformers would import it everywhere). For these tests alone it can be brought:

    pip install --no-deps --target build/torchvision torchvision==0.28.0
    PYTHONPATH=build/torchvision python -m pytest tests/gpu
"""

from __future__ import annotations

import importlib.util
import runpy
from pathlib import Path

import pytest
import torch

if importlib.util.find_spec("torchvision") and torch.version.cuda is None:
    runpy.run_path(str(Path(__file__).parents[2] / "infra/torchvision_operators.py"))

from tests.planners import trajectories  # transformers imports torchvision where it finds it


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectories(tmp_path_factory.mktemp("data"))

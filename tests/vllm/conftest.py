"""These tests need vLLM, and run on the CPU: `make vllm` brings both, in an environment of its own."""

from __future__ import annotations

import importlib.util
import os
from functools import partial
from pathlib import Path

import pytest

from tests.planners import trajectories, write_base

collect_ignore_glob = [] if importlib.util.find_spec("vllm") else ["test_*.py"]
os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def engine_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A colocated engine does not compile, which takes longer than these tests, and can take new weights."""
    from trl.generation import vllm_generation
    from vllm import LLM

    import tests.vllm.unpacked  # noqa: F401

    monkeypatch.setattr(vllm_generation, "LLM", partial(LLM, enforce_eager=True, skip_mm_profiling=True))


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectories(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """A micro Llama with heads of 32, the smallest that vLLM has on a CPU."""
    return write_base(tmp_path_factory.mktemp("llama") / "base", shards, image=False, steps=36, heads=2)


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """A small Qwen3-VL with random weights and some teaching."""
    from tests.gpu import qwen3vl
    from tracer.planner.plan import PlannerSettings
    from tracer.planner.settings import PlannerConfig

    settings = PlannerSettings.of(PlannerConfig(horizon=2, max_new_tokens=16))
    folder = tmp_path_factory.mktemp("qwen") / "base"
    return qwen3vl.write_base(folder, shards, settings, steps=36, size={**qwen3vl.SMALL, "head": 32})

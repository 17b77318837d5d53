"""kill -9 at random moments of both stages: what is resumed ends in the bytes of the uninterrupted run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.integration.kill import SETTINGS
from tracer.training.checkpoints import WHOLE, last_checkpoint

ROOT = Path(__file__).parents[2]


def killed(folder: Path, kills: int, seed: int) -> list[dict[str, object]]:
    """Run the script; the kills it reports."""
    command = [sys.executable, "-m", "tests.integration.kill", str(folder), "--kills", str(kills), "--seed", str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(reports) == kills
    return reports


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("twice")
    killed(folder, kills=2, seed=1)
    return folder


def test_two_kills_change_nothing(twice: Path) -> None:
    for stage in ("stage1", "stage2"):
        calm, resumed = (twice / name / "micro" / "seed0" / stage for name in ("calm", "killed"))
        files = sorted(path.relative_to(calm) for path in (calm / "model").iterdir())
        assert Path("model/model.safetensors") in files
        assert all((calm / name).read_bytes() == (resumed / name).read_bytes() for name in files)
        for name in ("metrics.jsonl", "warnings.json"):
            assert (calm / name).read_text() == (resumed / name).read_text()
        history = [json.loads(line) for line in (resumed / "metrics.jsonl").read_text().splitlines()]
        assert [entry["step"] for entry in history] == list(range(1, SETTINGS["steps"] + 1))


def test_what_a_checkpoint_holds(twice: Path) -> None:
    checkpoints = twice / "calm" / "micro" / "seed0" / "stage1" / "checkpoints"
    newest = Path(last_checkpoint(checkpoints) or "")
    assert newest.name == f"checkpoint-{SETTINGS['steps']}"
    assert {path.name for path in newest.iterdir()} >= {
        "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"
    }  # fmt: skip
    optimizer = torch.load(newest / "optimizer.pt", weights_only=True)
    assert all({"step", "exp_avg", "exp_avg_sq"} <= set(moments) for moments in optimizer["state"].values())
    assert torch.load(newest / "scheduler.pt", weights_only=True)["last_epoch"] == SETTINGS["steps"]
    numpy = torch.serialization.safe_globals(_numpy_globals())
    with numpy:
        state = torch.load(newest / "rng_state.pth", weights_only=True)
    assert {"python", "numpy", "cpu"} <= set(state)
    found = json.loads((newest / "trainer_state.json").read_text())
    assert found["global_step"] == SETTINGS["steps"] and len(found["log_history"]) == SETTINGS["steps"]
    assert all((path / WHOLE).is_file() for path in checkpoints.glob("checkpoint-*"))


def _numpy_globals() -> list[object]:
    import numpy as np
    from numpy._core.multiarray import _reconstruct

    return [_reconstruct, np.ndarray, np.dtype, type(np.dtype(np.uint32))]


@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path: Path) -> None:
    reports = killed(tmp_path, kills=10, seed=0)
    assert {report["stage"] for report in reports} == {"stage1", "stage2"}

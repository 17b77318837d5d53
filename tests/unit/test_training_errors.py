"""Real full disks, exhausted memory and NaN end in errors that say what to change."""

from __future__ import annotations

import resource
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tracer.config import Config
from tracer.training.errors import CollapsedReward, DiskFull, NotANumber, OutOfMemory, TrainingStopped, explained
from tracer.training.health import WINDOW
from tracer.training.heartbeat import Heartbeat, read_heartbeat
from tracer.training.watch import Watch

FULL = Path("/dev/full")  # every write to it finds the disk full
CONFIG = Config.model_validate({"profile": "micro", "stage2": {"groups": 6, "accumulation": 2, "patience": 3}})


def write_text(path: Path) -> None:
    with open(path, "w") as file:
        file.write("x")


def write_checkpoint(path: Path) -> None:
    torch.save({"weight": torch.zeros(1 << 16)}, path)


def write_weights(path: Path) -> None:
    save_file({"weight": torch.zeros(1 << 16)}, path)


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("write", [write_text, write_checkpoint])
def test_a_full_disk_whoever_finds_it(write: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to(FULL)
    with (
        pytest.raises(DiskFull, match=r"stage2\.keep_checkpoints is 2") as caught,
        explained(CONFIG, "stage2", tmp_path),
    ):
        write(path)
    assert str(tmp_path) in str(caught.value) and caught.value.__cause__ is not None


@pytest.mark.parametrize("write", [write_text, write_checkpoint, write_weights])
def test_a_limit_on_what_may_be_written_is_a_full_disk_too(write: Any, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(DiskFull), explained(CONFIG, "stage1", tmp_path):
            write(tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_memory_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(OutOfMemory, match=r"set stage2\.accumulation to 3") as caught,
        explained(CONFIG, "stage2", tmp_path),
    ):
        torch.empty(1 << 60)
    for fix in ("gradient_checkpointing", "bf16", "lora", "max_new_tokens", "group_size"):
        assert fix in str(caught.value)
    with pytest.raises(OutOfMemory), explained(CONFIG, "stage1", tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), explained(CONFIG, "stage1", tmp_path):
        1 / 0  # noqa: B018
    with pytest.raises(FileNotFoundError), explained(CONFIG, "stage1", tmp_path):
        (tmp_path / "missing").read_text()


def watch(tmp_path: Path) -> Watch:
    return Watch("stage2", CONFIG.stage2, Heartbeat(tmp_path, 40))


def entry(step: int, **changed: float) -> dict[str, float]:
    healthy = {"loss": 0.0, "grad_norm": 1.0, "reward": 1.0, "dead_groups": 0.0, "unparsable": 0.0}
    return {"step": step, **healthy, **changed}


@pytest.mark.parametrize("broken", [{"loss": float("nan")}, {"grad_norm": float("inf")}])
def test_nan_ends_training(tmp_path: Path, broken: dict[str, float]) -> None:
    logs = entry(7, **broken)
    with pytest.raises(NotANumber, match=r"step 7: .*Lower stage2\.learning_rate") as caught:
        watch(tmp_path).on_log(None, SimpleNamespace(global_step=7, log_history=[logs]), None, logs=logs)
    assert isinstance(caught.value, TrainingStopped)


def test_a_collapsed_reward_ends_training(tmp_path: Path) -> None:
    history = [entry(step) for step in range(1, 4)]
    history += [entry(step, dead_groups=1.0, reward=0.0) for step in range(4, 7)]
    state = SimpleNamespace(global_step=6, log_history=history)
    with pytest.raises(CollapsedReward, match=r"stage2\.patience=0"):
        watch(tmp_path).on_log(None, state, None, logs=history[-1])
    watch(tmp_path).on_log(None, SimpleNamespace(global_step=5, log_history=history[:5]), None, logs=history[4])
    watch(tmp_path).on_log(None, state, None, logs={"train_runtime": 3.0})  # the summary at the end is not a step


def test_early_warnings_are_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watching, history = watch(tmp_path), []
    for step in range(1, 2 * WINDOW):
        history.append(entry(step, reward_length=0.9))
        state = SimpleNamespace(global_step=step, log_history=history)
        watching.on_log(None, state, None, logs=history[-1])
    warned = [record.message for record in caplog.records if "early warning" in record.message]
    assert len(warned) == 1 and warned[0].startswith(f"early warning at step {WINDOW}, length")


def test_the_heartbeat(tmp_path: Path) -> None:
    assert read_heartbeat(tmp_path) is None
    heartbeat = Heartbeat(tmp_path, steps=40)
    heartbeat.beat("selecting", 0)
    Watch("stage1", CONFIG.stage1, heartbeat).on_step_end(None, SimpleNamespace(global_step=3), None)
    beat = read_heartbeat(tmp_path)
    assert beat is not None
    assert (beat["step"], beat["steps"], beat["doing"]) == (3, 40, "updated")
    assert 0 <= beat["age"] < 60

"""Two processes with accelerate (gloo, on the CPU) train as one does, and with sharded weights as ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest
import yaml
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from tests.planners import trajectories, write_base
from tests.services import free_port
from tracer import cli
from tracer.planner.transformers import TransformersPlanner
from tracer.training import launch
from tracer.training.checkpoints import WHOLE
from tracer.training.settings import LaunchConfig

STEPS = 4
TOLERANCE = 1e-3
"""How far rewards, losses and weights may be apart: sums in another order, over all steps. One other sample of the 16
a step would move the mean reward by more."""


def ingested(shards: Path, build: Path) -> dict[str, object]:
    """Settings under which the steps before training have read and validated the episodes behind the shards."""
    settings: dict[str, object] = {"build": build, "data.path": shards.parent / "raw", "data.limit": "null"}
    settings["data.pointer"] = ""
    assert cli.main(["validate", "--profile", "micro", *words(settings)]) == 0
    return settings


def words(settings: Mapping[str, object]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def train(base: Path, shards: Path, build: Path, options: LaunchConfig) -> Path:
    """Stage 1 through the command line, in as many processes as ``options`` say; the output folder."""
    settings = ingested(shards, build) | {
        "planner.base": base,
        "planner.image": "false",
        "planner.horizon": 2,
        "planner.max_new_tokens": 12,
        "stage1.steps": STEPS,
        "stage1.groups": 4,
        "stage1.group_size": 4,
        "stage1.learning_rate": 3e-3,
        "stage1.checkpoint_every": STEPS,
        "stage1.sampling": "step",
    }
    settings |= {f"launch.{key}": value for key, value in options.model_dump(exclude_defaults=True).items()}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        launch.command(options, "stage1", "micro", more=words(settings)),
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return build / "micro" / "seed0" / "stage1"


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_give_the_curve_of_one(tmp_path: Path) -> None:
    shards = trajectories(tmp_path)
    base = write_base(tmp_path / "base", shards, image=False, steps=36)
    one = train(base, shards, tmp_path / "one", LaunchConfig())
    two = train(base, shards, tmp_path / "two", LaunchConfig(strategy="cpu", gpus=2, main_port=free_port()))
    first, second = curve(one), curve(two)
    assert len(first) == len(second) == STEPS
    for ours, theirs in zip(first, second, strict=True):
        for name in ("reward", "dead_groups", "unparsable", "loss"):
            assert ours[name] == pytest.approx(theirs[name], abs=TOLERANCE), name
    assert len({entry["reward"] for entry in first}) > 1
    ours, theirs = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    start = load_file(base / "model" / "model.safetensors")
    apart = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    moved = max(float((ours[name] - start[name]).abs().max()) for name in ours)
    assert apart < TOLERANCE < moved
    # One writer: the lineage is whole, and both runs made the same step of the same inputs.
    lines = [json.loads((folder / "lineage.json").read_text()) for folder in (one, two)]
    for key in ("step", "config", "seed"):
        assert lines[0][key] == lines[1][key]
    assert lines[0]["inputs"]["base"]["digest"] == lines[1]["inputs"]["base"]["digest"]
    assert lines[0]["metrics"]["probe"] == pytest.approx(lines[1]["metrics"]["probe"], abs=TOLERANCE)


@pytest.mark.slow
def test_more_processes_than_groups_are_refused_by_all_of_them(tmp_path: Path) -> None:
    shards = trajectories(tmp_path)
    base = write_base(tmp_path / "base", shards, image=False, steps=0)
    options = LaunchConfig(strategy="cpu", gpus=2, main_port=free_port())
    settings = ingested(shards, tmp_path / "build") | {
        "stage1.groups": 3,
        "planner.base": base,
        "planner.image": "false",
    }
    command = launch.command(options, "stage1", "micro", more=words(settings))
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=500, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode != 0
    assert "launch says 1 processes, strategy 'single', but 2 run" in done.stderr
    assert sys.executable in command


SHARDED = {"fsdp2": "fsdp2-one-node.yaml", "zero3": "zero3-one-node.yaml"}
MANY = 6


def sharded(strategy: str, base: Path, shards: Path, build: Path, adapter: bool, until: Path | None = None) -> Path:
    """Stage 1 with the repository's own launch file, on two processes; killed once ``until`` is there."""
    settings = ingested(shards, build)
    file = yaml.safe_load((launch.FOLDER / SHARDED[strategy]).read_text())
    file |= {"num_processes": 2, "mixed_precision": "no", "main_process_ip": "127.0.0.1"}
    file |= {"main_process_port": free_port()}
    if strategy == "fsdp2":
        file["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"] = "LlamaDecoderLayer"
    (build / "launch.yaml").write_text(yaml.safe_dump(file))
    settings |= {
        "launch.strategy": strategy,
        "launch.gpus": 2,
        "planner.base": base,
        "planner.image": "false",
        "planner.horizon": 2,
        "planner.max_new_tokens": 12,
        "stage1.steps": MANY,
        "stage1.groups": 4,
        "stage1.group_size": 4,
        "stage1.learning_rate": 3e-3,
        "stage1.checkpoint_every": 2,
        "stage2.groups": 4,
    }
    settings |= {"stage1.lora.rank": 4, "stage1.lora.alpha": 8} if adapter else {}
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(build / "launch.yaml")]
    command += ["tests/integration/sharded.py", "train", "stage1", "--profile", "micro"]
    command += words(settings)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (".", os.environ.get("PYTHONPATH"))))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)
    if until is not None:
        while not until.exists() and process.poll() is None:
            time.sleep(0.02)
        family = [*psutil.Process(process.pid).children(recursive=True), process]
        for member in family:  # the launcher puts its processes into sessions of their own
            member.kill()
    said = process.communicate(timeout=500)[1]
    assert until is not None or process.returncode == 0, said[-9000:]
    return build / "micro" / "seed0" / "stage1"


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("strategy", sorted(SHARDED))
def test_sharded_weights_are_trained_saved_and_taken_up_again(tmp_path: Path, strategy: str, adapter: bool) -> None:
    if strategy == "zero3":
        pytest.importorskip("deepspeed")
    shards = trajectories(tmp_path)
    base = write_base(tmp_path / "base", shards, image=False, steps=36)
    calm = sharded(strategy, base, shards, tmp_path / "calm", adapter)
    name = f"{'adapter_model' if adapter else 'model'}.safetensors"
    trained = load_file(calm / "model" / name)
    if adapter:
        whole = get_peft_model_state_dict(TransformersPlanner.load(calm).model)
        assert trained.keys() == whole.keys() and trained
        assert all(weight.any() for weight in trained.values())  # half of them begin as zeros
    else:
        start = load_file(base / "model" / name)
        assert any(not trained[key].equal(weight) for key, weight in start.items())
    out = tmp_path / "killed" / "micro" / "seed0" / "stage1"
    until = out / "checkpoints" / "checkpoint-2" / WHOLE
    sharded(strategy, base, shards, tmp_path / "killed", adapter, until)
    assert not (out / "lineage.json").exists()
    sharded(strategy, base, shards, tmp_path / "killed", adapter)
    assert curve(out) == curve(calm)
    resumed = load_file(out / "model" / name)
    assert resumed.keys() == trained.keys() and all(resumed[key].equal(weight) for key, weight in trained.items())

"""SmolLM2: a model of its shape through both stages on the CPU; the published one where it can be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.planners import micro_config, trajectories, write_base
from tracer.config import load
from tracer.lineage.digest import LineageError, finished
from tracer.lineage.provenance import git_commit, hardware
from tracer.planner.transformers import TransformersPlanner
from tracer.training import smollm2, stage1, stage2
from tracer.training.gates import saved
from tracer.training.supervised import demonstrations, first_step_accuracy, fit


def test_a_model_of_its_class_goes_through_both_stages(tmp_path: Path, shards: Path) -> None:
    base = write_base(tmp_path / "base", shards, image=False, steps=36)
    config = micro_config(base, image=False, stage1={"learning_rate": 1e-2}, stage2={"learning_rate": 1e-2})
    stage1.STAGE.train(config, shards, base, config.out("stage1"))
    stage2.STAGE.train(config, shards, config.out("stage1"), config.out("stage2"))
    found = saved(config, stage1.STAGE, config.out("stage1"), base, shards)
    assert all(item["passed"] for item in found), found


@pytest.mark.gpu  # minutes a step on a CPU
def test_continuous_batching_serves_a_language_model(tmp_path: Path, shards: Path) -> None:
    base = write_base(tmp_path / "base", shards, image=False, steps=36)
    config = micro_config(base, image=False, stage1={"learning_rate": 1e-2, "rollouts": "continuous_batching"})
    metrics = stage1.STAGE.train(config, shards, base, config.out("stage1"))["metrics"]
    assert metrics["dead_groups"] < 1.0
    found = saved(config, stage1.STAGE, config.out("stage1"), base, shards)
    assert all(item["passed"] for item in found), found


def test_demonstrations_teach_a_llama_the_grammar(tmp_path: Path, shards: Path) -> None:
    base = write_base(tmp_path / "base", shards, image=False, steps=0)
    planner = TransformersPlanner.load(base)
    settings = ("steps=40", "batch=4", "learning_rate=0.005", "renumbered=0")  # forty steps are too few to read numbers
    config = load("smollm2", [f"bootstrap.{each}" for each in settings])
    samples = demonstrations(shards.parent / "raw", planner.settings.horizon)
    fit(config, planner, samples["train"], tmp_path / "checkpoints")
    assert first_step_accuracy(planner, samples["validation"], config.seed)["first_step/all"] > 0.5


def test_a_missing_weights_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="does not exist"):
        smollm2.build(load("smollm2"), tmp_path / "out", weights=tmp_path / "none.gguf")
    with pytest.raises(LineageError, match=r"planner\.image"):
        (tmp_path / "some.gguf").write_bytes(b"")
        smollm2.build(load("micro"), tmp_path / "out", weights=tmp_path / "some.gguf")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published model, taught on the sample's episodes."""
    try:
        smollm2.packaged()
    except LineageError as error:
        pytest.skip(str(error))
    pytest.importorskip("gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    trajectories(folder)
    config = load("smollm2", ["bootstrap.steps=60", "bootstrap.batch=4", "bootstrap.checkpoint_every=60"])
    smollm2.build(config, folder / "base", episodes=folder / "raw")
    return folder


@pytest.mark.slow
def test_the_published_weights_are_read_right(tmp_path: Path) -> None:
    """Dequantised wrongly, it would not know what the capital of France is."""
    try:
        smollm2.packaged()
    except LineageError as error:
        pytest.skip(str(error))
    pytest.importorskip("gguf")
    smollm2.build(load("smollm2"), tmp_path / "base")
    planner = TransformersPlanner.load(tmp_path / "base")
    asked = [{"role": "user", "content": "What is the capital of France?"}]
    text = planner.tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
    inputs = planner.tokenizer([text], return_tensors="pt", add_special_tokens=False).to(planner.model.device)
    output = planner.model.generate(**inputs, max_new_tokens=16, do_sample=False)
    assert "Paris" in planner.tokenizer.decode(output[0, inputs["input_ids"].shape[1] :])


@pytest.mark.gpu
def test_the_published_one_learns_in_both_stages(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = load(
        "smollm2",
        ["stage1.steps=20", "stage2.steps=10", f"planner.base={published / 'base'}", f"build={published / 'build'}"],
    )
    shards = published / "trajectories"
    stage1.STAGE.train(config, shards, published / "base", config.out("stage1"))
    stage2.STAGE.train(config, shards, config.out("stage1"), config.out("stage2"))
    lines = (config.out("stage1") / "metrics.jsonl").read_text().splitlines()
    rewards = [json.loads(line)["reward"] for line in lines]
    lineage = finished(config.out("stage1"))
    assert lineage is not None
    with capsys.disabled():
        print(
            json.dumps(
                {"test": "smollm2", "rewards": rewards, "seconds": lineage["seconds"], **hardware(), **git_commit()}
            )
        )
    assert sum(rewards[-5:]) > sum(rewards[:5])

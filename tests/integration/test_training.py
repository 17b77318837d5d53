"""Both stages on micro planners: a Llama without pictures, and an adapter on the tiny vision-language model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from trl import GRPOTrainer

from tests.planners import micro_config, trajectories, write_base
from tracer.config import Config
from tracer.lineage.digest import LineageError
from tracer.planner.lora import is_adapter
from tracer.planner.transformers import TransformersPlanner
from tracer.reward import advantages
from tracer.settings import ConfigError
from tracer.stages import STAGES
from tracer.training import stage1, stage2
from tracer.training.gates import saved
from tracer.training.trl.arguments import arguments, left_out
from tracer.training.trl.trainer import trainer_class

LORA = {"rank": 4, "alpha": 8}
LEARN = {"learning_rate": 1e-2}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trajectories(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    # Taught too little to be right every time: groups have to disagree.
    return write_base(tmp_path_factory.mktemp("llama") / "base", shards, image=False, steps=36)


def both(config: Config, shards: Path) -> tuple[dict[str, object], dict[str, object]]:
    first = stage1.STAGE.train(config, shards, Path(config.planner.base), config.out("stage1"))
    second = stage2.STAGE.train(config, shards, config.out("stage1"), config.out("stage2"))
    return first["metrics"], second["metrics"]


def test_a_llama_goes_through_both_stages(llama: Path, shards: Path) -> None:
    config = micro_config(llama, image=False, stage1=LEARN, stage2=LEARN)
    first, second = both(config, shards)
    assert 0 < first["reward_first"] < 2.0 and first["dead_groups"] < 1.0
    for stage, start in zip(STAGES, (llama, config.out("stage1")), strict=True):
        found = saved(config, stage, config.out(stage.name), start, shards)
        assert [item["name"] for item in found] == ["differs_from_base", "reproduces_score"]
        assert all(item["passed"] for item in found), found
    other = config.model_copy(update={"planner": config.planner.model_copy(update={"horizon": 7})})
    with pytest.raises(ConfigError, match=r"stage2 was trained .* planner\.horizon was \d+ and is now 7"):
        saved(other, STAGES[1], config.out("stage2"), config.out("stage1"), shards)
    assert TransformersPlanner.load(config.out("stage2")).model.config.model_type == "llama"
    assert set(second) == set(first)


def test_a_planner_that_was_not_trained_or_is_another_is_found(llama: Path, shards: Path) -> None:
    config = micro_config(llama, image=False, stage1=LEARN, stage2=LEARN)
    out = config.out("stage1")
    stage1.STAGE.train(config, shards, llama, out)  # found finished
    same = saved(config, STAGES[0], out, out, shards)
    assert [item["name"] for item in same if not item["passed"]] == ["differs_from_base"]
    weights = next((out / "model").glob("*.safetensors"))
    kept = weights.read_bytes()
    try:
        weights.write_bytes((llama / "model" / weights.name).read_bytes())  # the base in the stage's place
        failed = [item["name"] for item in saved(config, STAGES[0], out, llama, shards) if not item["passed"]]
        assert "differs_from_base" in failed
    finally:
        weights.write_bytes(kept)


def test_a_save_that_loses_what_was_trained_is_found(
    llama: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(self: TransformersPlanner, folder: Path, state: object = None) -> None:
        shutil.copytree(llama / "model", folder)

    monkeypatch.setattr(TransformersPlanner, "save", lose)
    config = micro_config(llama, image=False, stage1=LEARN).model_copy(update={"seed": 7})
    stage1.STAGE.train(config, shards, llama, config.out("stage1"))
    failed = [
        item["name"] for item in saved(config, STAGES[0], config.out("stage1"), llama, shards) if not item["passed"]
    ]
    assert failed == ["differs_from_base", "reproduces_score"]


def test_a_stage_is_saved_as_its_base_was_and_an_untouched_copy_is_no_difference(
    llama: Path, shards: Path, tmp_path: Path
) -> None:
    planner = TransformersPlanner.load(llama)
    planner.model.to(torch.bfloat16)
    planner.save(tmp_path / "base" / "model")
    frozen = {"learning_rate": 1e-30, "warmup": 0}
    config = micro_config(tmp_path / "base", image=False, stage1=frozen, gates={"probe_tolerance": 0.02})
    stage1.STAGE.train(config, shards, tmp_path / "base", config.out("stage1"))
    assert TransformersPlanner.load(config.out("stage1")).model.dtype == torch.bfloat16
    found = saved(config, STAGES[0], config.out("stage1"), tmp_path / "base", shards)
    assert [item["name"] for item in found if not item["passed"]] == ["differs_from_base"]


@pytest.mark.parametrize("aggregation", ["sum_then_normalize", "normalize_then_sum"])
def test_the_advantages_that_train_are_the_formulas(
    llama: Path, shards: Path, monkeypatch: pytest.MonkeyPatch, aggregation: str
) -> None:
    earned: list[torch.Tensor] = []
    found: list[torch.Tensor] = []

    def score(self: GRPOTrainer, *arguments: object) -> torch.Tensor:
        earned.append(scored(self, *arguments))
        return earned[-1]

    def generate(self: GRPOTrainer, inputs: object) -> dict[str, torch.Tensor]:
        made = generated(self, inputs)
        found.append(made["advantages"])
        return made

    scored, generated = GRPOTrainer._calculate_rewards, GRPOTrainer._generate_and_score_completions
    monkeypatch.setattr(GRPOTrainer, "_calculate_rewards", score)
    monkeypatch.setattr(GRPOTrainer, "_generate_and_score_completions", generate)
    config = micro_config(llama, image=False, stage1={**LEARN, "aggregation": aggregation, "groups": 4})
    config = config.model_copy(update={"seed": 11})
    stage1.STAGE.train(config, shards, llama, config.out("stage1"))
    assert len(found) == 2 and any(bool(each.any()) for each in found)
    for parts, trained_on in zip(earned, found, strict=True):
        groups = [[part.tolist() for part in group.T] for group in parts.view(4, -1, 2)]  # 4 groups of 2 parts
        if aggregation == "sum_then_normalize":  # the paper: each group's sums
            expected = [advantages([a + r for a, r in zip(*group, strict=True)]) for group in groups]
        else:  # each group's parts, then all completions of the step
            apart = [[advantages(part) for part in group] for group in groups]
            expected = [advantages([a + r for group in apart for a, r in zip(*group, strict=True)])]
        assert trained_on.tolist() == pytest.approx([value for group in expected for value in group], abs=1e-4)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Config:
    base = write_base(tmp_path_factory.mktemp("llava") / "base", shards, image=True, steps=36)
    stage = {"lora": LORA, **LEARN}
    config = micro_config(base, image=True, stage1=stage, stage2=stage)
    both(config, shards)
    return config


def test_an_adapter_is_saved_without_its_base_and_goes_through_both_stages(adapted: Config, shards: Path) -> None:
    base = Path(adapted.planner.base)
    for stage, start in zip(STAGES, (base, adapted.out("stage1")), strict=True):
        model = adapted.out(stage.name) / "model"
        assert sorted(path.name for path in model.glob("*.safetensors")) == ["adapter_model.safetensors"]
        assert json.loads((model / "base.json").read_text())["id"] == str(base / "model")
        assert is_adapter(TransformersPlanner.load(model).model)
        found = saved(adapted, stage, adapted.out(stage.name), start, shards)
        assert all(item["passed"] for item in found), found
    first, second = (TransformersPlanner.load(adapted.out(stage)).model.state_dict() for stage in ("stage1", "stage2"))
    assert first.keys() == second.keys()  # one adapter, trained on; not one on top of another
    assert any(not torch.equal(first[name], second[name]) for name in first if "lora_" in name)
    assert all(torch.equal(first[name], second[name]) for name in first if "lora_" not in name)


def test_an_adapter_is_not_loaded_onto_another_base(adapted: Config, shards: Path, tmp_path: Path) -> None:
    weights = Path(adapted.planner.base) / "model" / "model.safetensors"
    kept = weights.read_bytes()
    try:
        weights.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        with pytest.raises(LineageError, match="was trained on"):
            TransformersPlanner.load(adapted.out("stage1"))
        with pytest.raises(LineageError, match=r"set planner\.base"):
            stage2.STAGE.train(adapted, shards, adapted.out("stage1"), tmp_path / "stage2")
    finally:
        weights.write_bytes(kept)


def test_reduced_precision_and_checkpointing_work_where_the_libraries_allow(llama: Path, shards: Path) -> None:
    stage = {**LEARN, "bf16": True, "gradient_checkpointing": True}
    config = micro_config(llama, image=False, stage1=stage).model_copy(update={"seed": 5})
    metrics = stage1.STAGE.train(config, shards, llama, config.out("stage1"))["metrics"]
    assert metrics["dead_groups"] < 1.0
    found = saved(config, STAGES[0], config.out("stage1"), llama, shards)
    assert all(item["passed"] for item in found), found


def test_the_trainer_that_serves_a_model(llama: Path) -> None:
    model = TransformersPlanner.load(llama).model
    stage = micro_config(llama, image=False).stage1
    assert trainer_class(model, stage).__name__ == "SharedPromptTrainer"
    assert trainer_class(model, stage.model_copy(update={"sampling": "step"})).__name__ == "SharedPromptTrainer"
    assert trainer_class(model, stage.model_copy(update={"rollouts": "vllm_server"})).__name__ == "SharedPromptTrainer"
    with pytest.raises(ConfigError, match="set sampling to 'stream'"):
        trainer_class(model, stage.model_copy(update={"rollouts": "vllm_server", "sampling": "step"}))


def test_vllm_is_told_where_it_is_and_what_not_to_sample(llama: Path) -> None:
    stage = micro_config(llama, image=False).stage1
    assert left_out(stage, [7]) is None
    assert left_out(stage.model_copy(update={"rollouts": "vllm_colocate"}), [7]) == {"logit_bias": {7: -100.0}}
    assert left_out(stage.model_copy(update={"rollouts": "vllm_colocate"}), []) is None
    planner = TransformersPlanner.load(llama)
    config = micro_config(llama, image=False, launch={"vllm_host": "10.0.0.2", "vllm_port": 9000, "vllm_memory": 0.4})
    made = arguments(config, config.stage1, planner, llama)
    assert (made.vllm_server_host, made.vllm_server_port) == ("10.0.0.2", 9000)
    assert made.vllm_gpu_memory_utilization == 0.4
    assert made.steps_per_generation * made.num_iterations == made.gradient_accumulation_steps

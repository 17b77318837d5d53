"""Qwen3-VL with random weights: both stages, in bf16 and with LoRA; and the size of the 8B, measured."""

from __future__ import annotations

import importlib.util
import json
import time
from pathlib import Path

import pytest
import torch

from tests.gpu import qwen3vl
from tests.planners import micro_config
from tracer.capacity import fleet, memory
from tracer.config import load
from tracer.lineage.provenance import git_commit, hardware
from tracer.lineage.step import read_lineage
from tracer.planner.plan import PlannerSettings
from tracer.planner.settings import PlannerConfig
from tracer.planner.shape import shape
from tracer.stages import STAGES
from tracer.training import stage1, stage2
from tracer.training.gates import saved
from tracer.training.trl.named_weights import NamedWeights


def test_the_classes_exist_and_their_shape_is_the_8b_of_the_paper() -> None:
    # On torch's meta device: no memory, no processor, no torchvision.
    from tracer.planner.tiny import build_processor

    tokenizer = build_processor(["click"], 300).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": list(qwen3vl.VISION)})
    with torch.device("meta"):
        found = shape(qwen3vl.model(tokenizer, qwen3vl.EIGHT_BILLION, vocabulary=151_936))
    assert fleet.published("Qwen/Qwen3-VL-8B-Thinking")[0] == found
    assert found.parameters == 8_767_123_696 and found.cache == 2 * 36 * 8 * 128
    config = load("qwen3vl-8b")
    assert memory.estimate(found, config, config.stage1).total < 80.0


def test_a_small_one_computes_on_the_processor() -> None:
    from tracer.planner.tiny import build_processor

    tokenizer = build_processor(["click"], 300).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": list(qwen3vl.VISION)})
    torch.manual_seed(0)
    model = qwen3vl.model(tokenizer, qwen3vl.SMALL).eval()
    grid = torch.tensor([[1, 4, 4]])  # patches; merged two by two they are four tokens
    ids = torch.tensor([[5, 6] + [model.config.image_token_id] * 4 + [7]])
    with torch.no_grad():
        output = model(
            input_ids=ids,
            pixel_values=torch.randn(16, 3 * 2 * 16 * 16),
            image_grid_thw=grid,
            mm_token_type_ids=(ids == model.config.image_token_id).long(),
        )
    assert output.logits.shape[:2] == (1, 7) and bool(torch.isfinite(output.logits).all())


def test_a_resumed_one_takes_up_its_checkpoints_weights(tmp_path: Path) -> None:
    """They are saved under their published names, which are not those of the parameters."""
    from tracer.planner.tiny import build_processor

    class Plain:
        is_fsdp_enabled = False

    class Resumed(NamedWeights, Plain):
        pass

    tokenizer = build_processor(["click"], 300).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": list(qwen3vl.VISION)})
    trained, fresh = qwen3vl.model(tokenizer, qwen3vl.SMALL), qwen3vl.model(tokenizer, qwen3vl.SMALL)
    trained.save_pretrained(tmp_path)
    Resumed()._load_from_checkpoint(str(tmp_path), fresh)
    assert all(torch.equal(ours, fresh.state_dict()[name]) for name, ours in trained.state_dict().items())


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is None, reason="no torchvision; conftest.py says how")
@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_a_small_one_goes_through_both_stages(tmp_path: Path, shards: Path, lora: dict[str, int] | None) -> None:
    settings = PlannerSettings.of(PlannerConfig(horizon=2, max_new_tokens=16))
    base = qwen3vl.write_base(tmp_path / "base", shards, settings, steps=36)
    rate = 1e-2 if lora else 1e-3
    stage = {"bf16": True, "gradient_checkpointing": True, "lora": lora, "learning_rate": rate}
    config = micro_config(base, image=True, stage1=stage, stage2=stage, gates={"probe_tolerance": 0.02})
    stage1.STAGE.train(config, shards, base, config.out("stage1"))
    stage2.STAGE.train(config, shards, config.out("stage1"), config.out("stage2"))
    for stage, start in zip(STAGES, (base, config.out("stage1")), strict=True):
        assert read_lineage(config.out(stage.name))["metrics"]["dead_groups"] < 1.0  # or nothing was learned
        found = saved(config, stage, config.out(stage.name), start, shards)
        assert all(item["passed"] for item in found), found


@pytest.mark.gpu
def test_the_8b_shape_fits_and_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    from tracer.planner.tiny import build_processor

    tokenizer = build_processor(["click"], 300).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": list(qwen3vl.VISION)})
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device("cuda"):
            model = qwen3vl.model(tokenizer, qwen3vl.EIGHT_BILLION, vocabulary=151_936)
    finally:
        torch.set_default_dtype(torch.float32)
    from peft import LoraConfig, get_peft_model

    model.gradient_checkpointing_enable()
    model = get_peft_model(model, LoraConfig(r=64, lora_alpha=128, target_modules="all-linear", task_type="CAUSAL_LM"))
    model.enable_input_require_grads()
    ids = torch.randint(300, 151_000, (2, 2048), device="cuda")
    figures = {}
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):  # the second is warm
        torch.cuda.synchronize()
        started = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.cuda.synchronize()
        figures["update_tokens_per_second"] = round(ids.numel() / (time.perf_counter() - started))
    figures["peak_gigabytes"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
    model.eval()
    started = time.perf_counter()
    with torch.no_grad():
        model.generate(input_ids=ids[:, :512].repeat(4, 1), max_new_tokens=64, min_new_tokens=64, do_sample=True)
    torch.cuda.synchronize()
    figures["generated_tokens_per_second"] = round(8 * 64 / (time.perf_counter() - started))
    with capsys.disabled():
        print(json.dumps({"test": "qwen3vl-8b-shaped", **figures, **hardware(), **git_commit()}))
    assert figures["peak_gigabytes"] < 80.0

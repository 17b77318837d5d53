"""What a profile needs and takes: sums by hand, and what others published of their own runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tracer.capacity import fleet, memory
from tracer.capacity.hours import Work, hours
from tracer.capacity.plan import plan
from tracer.cli import main
from tracer.config import Config, load
from tracer.planner.shape import Shape
from tracer.settings import ConfigError
from tracer.training.settings import GrpoConfig

# The published sizes of Qwen2.5-VL: parameters, hidden, layers; each with key heads of 128 and 151936 or more tokens.
QWEN25 = {
    "3B": Shape(parameters=3_754_622_976, hidden=2048, layers=36, vocabulary=151_936, cache=2 * 36 * 2 * 128, linear=0),
    "7B": Shape(parameters=8_292_166_656, hidden=3584, layers=28, vocabulary=152_064, cache=2 * 28 * 4 * 128, linear=0),
    "32B": Shape(
        parameters=33_452_718_336, hidden=5120, layers=64, vocabulary=152_064, cache=2 * 64 * 8 * 128, linear=0
    ),
}


def easyr1(completions: int = 1) -> tuple[Config, GrpoConfig]:
    """The settings of EasyR1's baselines: 128 groups of 5 an update, prompts and completions of at most 2048 tokens,
    all weights sharded over 8 GPUs, six tenths of each for a vLLM that sleeps, the reference's weights elsewhere.

    ``completions``: of a micro-batch on each GPU. Ours are whole groups, so that no profile can ask for fewer than 5.
    """
    sizes = ("planner.max_prompt_tokens=2048", "planner.max_new_tokens=2048", "stage1.groups=8", "stage2.groups=8")
    vllm = ("launch.vllm_memory=0.6", "launch.vllm_sleep=true", "launch.vllm_tensor_parallel=2")
    config = load("micro", [*sizes, *vllm, "launch.strategy=fsdp2", "launch.gpus=8"])
    batch = {"groups": 128, "group_size": 5, "accumulation": 80 // completions}
    return config, config.stage1.model_copy(update={**batch, "bf16": True, "rollouts": "vllm_colocate"})


# assets/baselines.md of hiyouga/EasyR1, v0.3.2, rows "AMP": the GPU, the micro-batch of the update, and the peak on it.
@pytest.mark.parametrize(
    ("size", "gpu", "micro", "peak"),
    [("3B", "h100", 1, 54), ("7B", "h100", 1, 68), ("7B", "h100", 4, 72), ("7B", "l20", 1, 42)],
)
def test_memory_is_what_easyr1_published(size: str, gpu: str, micro: int, peak: float) -> None:
    config, stage = easyr1(completions=micro)
    found = memory.estimate(QWEN25[size], config, stage, fleet.gpu(gpu).memory)
    assert found.total == pytest.approx(peak, rel=0.25)


# The README of huggingface/peft, on an A100, in 32 bit: T0_3B whole and with LoRA, bloomz-7b1 and mt0-xxl with LoRA.
@pytest.mark.parametrize(
    ("parameters", "rank", "peak"), [(2.85e9, 0, 47.14), (2.85e9, 8, 14.4), (7.07e9, 8, 32.0), (12.9e9, 8, 56.0)]
)
def test_memory_is_what_peft_published(parameters: float, rank: int, peak: float) -> None:
    shape = Shape(parameters=int(parameters), hidden=2048, layers=24, vocabulary=32_128, cache=0, linear=500_000)
    short = ["planner.max_prompt_tokens=64", "planner.max_new_tokens=8", "stage1.groups=4"]  # eight tweets at a time
    config = load("micro", [*short, *([f"stage1.lora.rank={rank}"] if rank else [])])
    assert memory.estimate(shape, config, config.stage1).total == pytest.approx(peak, rel=0.25)


# The same table: tokens a second and GPU over the whole step. The constants were fitted to those of the H100 alone.
@pytest.mark.parametrize(
    ("size", "gpu", "rate"), [("3B", "h100", 1800), ("7B", "h100", 1600), ("7B", "l20", 410), ("32B", "h100", 620)]
)
def test_time_is_what_easyr1_published(size: str, gpu: str, rate: float) -> None:
    config, stage = easyr1()
    kind, work = fleet.gpu(gpu), Work(prompt=500, completion=500)
    held = memory.estimate(QWEN25[size], config, stage, kind.memory)
    took = hours(QWEN25[size], config, stage.model_copy(update={"kl": 0.01}), work, kind, held)
    tokens = stage.steps * stage.groups * stage.group_size * (work.prompt + work.completion)
    found = tokens / 8 / ((took.rollouts + took.training) * 3600)
    assert rate / 2 < found < rate * 2
    # Their update's utilisation, 8 to 26 % of the operations, makes it 43 to 64 % of a step.
    assert 0.35 < took.training / (took.rollouts + took.training) < 0.7


def test_time_on_the_cpu_is_that_of_the_demo() -> None:
    """README: 7 minutes for both stages on two cores. The row of the table comes from docs/speed.md, one thread."""
    recorded = json.loads(Path("docs/bench/tiny-cpu.json").read_text(encoding="utf-8"))["sides"]["ours"]["tokens"]
    rows = 16 * 8
    work = Work(prompt=recorded["prompt"] / rows, completion=recorded["completion"] / rows, states=1500)
    found = plan(load("demo"), "two-cores", fleet.gpu("two-cores"), work=work)
    assert not found.refused
    took = sum(each.hours.rollouts + each.hours.training for each in found.stages)
    assert 3.5 < took * 60 < 14


def test_a_profile_without_a_gpu_is_planned_for_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--profile", "demo"]) == 0
    said = capsys.readouterr().out
    if not torch.cuda.is_available():
        assert said.startswith("demo on two cores, without a GPU")
        for about_gpus in ("h100", "dollars", "GB a GPU", "CUDA", "baselines.md"):
            assert about_gpus not in said
    assert fleet.usual(load("qwen3vl-8b")) == "h100"


def test_memory_adds_up() -> None:
    # One billion weights in 32 bit: weights and gradients 4 GB each, Adam's moments 8 GB.
    shape = Shape(parameters=10**9, hidden=1000, layers=10, vocabulary=1000, cache=100, linear=10**6)
    config = load("micro", ["planner.max_prompt_tokens=900", "planner.max_new_tokens=100"])
    found = memory.estimate(shape, config, config.stage1)
    assert (found.weights, found.gradients, found.optimizer) == (4.0, 4.0, 8.0)
    # 2 groups of 2: 4 rows of 1000 tokens; 34 bytes (in 16 bit) a token, hidden unit and layer, twice that in 32.
    assert found.activations == pytest.approx(4 * 1000 * 1000 * 34 * 2 * 10 / 1e9)
    assert found.logits == pytest.approx(3 * 4 * 100 * 1000 * 4 / 1e9)
    assert found.total == pytest.approx(16 + found.activations + found.logits + 1.5)
    # An adapter of rank 10 trains 10 million weights; the others are kept in 16 bit.
    lora = load("micro", ["stage1.lora.rank=10", "stage1.bf16=true"])
    small = memory.estimate(shape, lora, lora.stage1)
    assert small.weights == pytest.approx(2.0 + 0.04)
    assert small.optimizer == pytest.approx(0.08)
    # Sharded over eight GPUs, each holds an eighth.
    options = ["launch.strategy=zero3", "launch.gpus=8", "stage1.groups=8", "stage2.groups=8"]
    sharded = load("micro", options)
    assert memory.estimate(shape, sharded, sharded.stage1).optimizer == pytest.approx(1.0)


def test_the_paper_sized_profile_is_estimated_to_fit_its_gpu() -> None:
    # Qwen3-VL-8B as published: 8.77 billion weights, hidden 4096, 36 layers, 8 key heads of 128, 151936 tokens.
    shape = Shape(
        parameters=8_767_123_696, hidden=4096, layers=36, vocabulary=151_936, cache=2 * 36 * 8 * 128, linear=1_900_000
    )
    config = load("qwen3vl-8b")
    found = memory.estimate(shape, config, config.stage1)
    assert 17.0 < found.weights < 19.0
    assert found.total < 80.0


def test_checkpointing_and_sleeping_save_memory() -> None:
    shape = Shape(parameters=10**9, hidden=1000, layers=30, vocabulary=1000, cache=100, linear=10**6)
    plain, saving = load("tiny"), load("tiny", ["stage1.gradient_checkpointing=true"])
    before, after = (memory.estimate(shape, config, config.stage1) for config in (plain, saving))
    assert after.activations < before.activations / 5


def test_what_does_not_fit_is_refused_with_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--profile", "qwen3vl-8b", "--gpu", "rtx-4090"]) == 1
    said = capsys.readouterr().out
    assert "REFUSED stage1 needs" in said and "rtx-4090 has 24" in said and "EasyR1" in said
    assert "does not hold the weights and one sequence of 5120 tokens" in said
    assert main(["plan", "--profile", "qwen3vl-32b", "--gpu", "h100", "--count", "8", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert any("trains on 32 GPUs and 1 for the vLLM server, and there are 8" in why for why in found["refused"])
    assert found["stages"][0]["memory"]["total"] < 80


@pytest.mark.parametrize(
    ("profile", "gpu"),
    [("qwen3vl-4b", "rtx-4090"), ("qwen3vl-8b", "h100"), ("qwen3vl-8b-authors", "h100"), ("qwen3vl-32b", "h100")],
)
def test_every_profile_fits_the_gpus_that_it_is_for(profile: str, gpu: str) -> None:
    assert plan(load(profile), gpu, fleet.gpu(gpu)).refused == ()


def test_the_largest_batch_is_the_one_beyond_which_nothing_fits() -> None:
    coarse = load("qwen3vl-8b", ["stage1.accumulation=1"])
    found = plan(coarse, "h100", fleet.gpu("h100"))
    first = found.stages[0]
    assert any(f"set stage1.accumulation={first.accumulation}" in why for why in found.refused)
    for accumulation, fits in ((first.accumulation, True), (first.accumulation // 2, False)):
        config = load("qwen3vl-8b", [f"stage1.accumulation={accumulation}"])
        assert (not plan(config, "h100", fleet.gpu("h100")).refused) == fits


def test_a_fleet_of_ones_own_is_added_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("ours: {memory: 96, flops: 500, bandwidth: 2000, price: 2, source: our invoice}\n", encoding="utf-8")
    found = plan(load("qwen3vl-8b"), "ours", fleet.gpu("ours", own))
    took = sum(each.hours.rollouts + each.hours.training for each in found.stages)
    assert found.cost == pytest.approx(2 * took)
    assert any("our invoice" in source for _, source in found.assumptions)
    with pytest.raises(ConfigError, match="no GPU 'theirs'; known are h200"):
        fleet.gpu("theirs", own)
    own.write_text("ours: {memory: 96}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"own\.yaml is not a list of GPUs"):
        fleet.gpu("ours", own)


def test_an_unknown_base_is_named() -> None:
    config = load("qwen3vl-8b", ["planner.base=Some/Model"])
    with pytest.raises(
        ConfigError, match=r"the shape of Some/Model is not known.*`tracer base hub --profile qwen3vl-8b` fetches it"
    ):
        plan(config, "h100", fleet.gpu("h100"))

"""Before a GPU is touched: memory from shapes, prompts against the context, and a dry run that writes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import yaml

from tests.planners import micro_config, trajectories, write_base
from tracer import flow, planner
from tracer.capacity.dry_run import dry_run
from tracer.config import Config, load
from tracer.planner.shape import shape_of
from tracer.settings import ConfigError
from tracer.training import preflight
from tracer.training.stage1 import STAGE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A configuration over an untaught micro Llama, and its data."""
    folder = tmp_path_factory.mktemp("preflight")
    shards = trajectories(folder)
    base = write_base(folder / "base", shards, image=False, steps=0)
    return micro_config(base, image=False), shards


def test_the_shape_of_the_micro_llama(made: tuple[Config, Path]) -> None:
    config, _ = made
    shape = shape_of(Path(config.planner.base) / "model")
    vocabulary = shape.vocabulary
    # Hidden 64, 2 layers, 4 heads of 16, 2 of them for keys, 128 within. A layer has q 64*64, k and v 64*32 each,
    # o 64*64, gate, up and down 64*128 each, two norms of 64: 4096 + 2*2048 + 4096 + 3*8192 + 128 = 36992.
    assert shape.parameters == vocabulary * 64 + 2 * 36992 + 64
    assert shape.cache == 2 * 2 * 2 * 16
    # In and out of each linear layer: q 128, k and v 96 each, o 128, gate, up and down 192 each = 1024; two layers.
    assert shape.linear == 2 * 1024


def test_a_dry_run_says_all_and_writes_nothing(made: tuple[Config, Path]) -> None:
    config, shards = made
    base = Path(config.planner.base)
    before = sorted(path for path in base.parent.rglob("*"))
    text = dry_run(config, STAGE, shards, base, config.out("stage1"))
    assert sorted(path for path in base.parent.rglob("*")) == before
    for said in (
        "group_size: 4",
        "# tokens per step",
        "# digest ",
        "to be made",
        "# memory",
        "ok   context",
        "ok   prompts",
    ):
        assert said in text
    assert "FAIL" not in text
    first = text.splitlines()[:8]
    assert first[0].startswith("# digest ") and any(line.startswith("# time on ") for line in first)
    assert yaml.safe_load(text)["profile"] == "micro"


def test_loading_and_writing_a_planner_says_nothing(
    made: tuple[Config, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    planner.load(made[0].planner.base).save(tmp_path / "model")
    assert capfd.readouterr().err == ""
    assert not logging.getLogger("transformers.trainer_utils").isEnabledFor(logging.WARNING)


@pytest.mark.parametrize(
    ("profile", "commit"), [("qwen3vl-4b", "1de27d8"), ("qwen3vl-8b", "92f3c4b"), ("qwen3vl-8b-authors", "92f3c4b")]
)
def test_a_dry_run_works_before_anything_is_made(tmp_path: Path, profile: str, commit: str) -> None:
    config = load(profile)
    text = dry_run(config, STAGE, tmp_path / "trajectories", tmp_path / "base", tmp_path / "stage1")
    assert "not made yet" in text and f"revision: {commit}" in text and "# memory a GPU, estimated: " in text
    assert list(tmp_path.iterdir()) == []


def test_the_digest_is_the_one_that_the_step_would_have(made: tuple[Config, Path]) -> None:
    config, shards = made
    base, out = Path(config.planner.base), config.out("stage1")
    first = dry_run(config, STAGE, shards, base, out)
    other = config.model_copy(update={"seed": 1})
    line = [line for line in first.splitlines() if line.startswith("# digest")]
    assert line and line[0] not in dry_run(other, STAGE, shards, base, out)


def test_prompts_beyond_the_limit_are_counted(made: tuple[Config, Path]) -> None:
    config, shards = made
    planner = config.planner.model_copy(update={"max_prompt_tokens": 20})
    short = config.model_copy(update={"planner": planner})
    with pytest.raises(ConfigError, match=r"prompts: 6 prompts.*100\.0% over 20.*set planner\.max_prompt_tokens to"):
        preflight.require(short, STAGE, shards, Path(config.planner.base), config.out("stage1"))


def test_a_context_too_short_is_refused(made: tuple[Config, Path]) -> None:
    config, shards = made
    planner = config.planner.model_copy(update={"max_prompt_tokens": 1020})
    with pytest.raises(ConfigError, match=r"context: prompt 1020 \+ answer 16 tokens, the model reads 1024"):
        preflight.require(
            config.model_copy(update={"planner": planner}),
            STAGE,
            shards,
            Path(config.planner.base),
            config.out("stage1"),
        )


def test_vllm_that_is_not_there_is_named(made: tuple[Config, Path]) -> None:
    config, shards = made
    stage = config.stage1.model_copy(update={"rollouts": "vllm_colocate"})
    found = preflight.check(
        config.model_copy(update={"stage1": stage}), STAGE, shards, Path(config.planner.base), config.out("stage1")
    )
    assert any(item.name == "vllm" and "rollouts to transformers" in item.fix for item in found)


def test_training_that_would_sample_with_vllm_is_refused_on_the_cpu_too(made: tuple[Config, Path]) -> None:
    config, shards = made
    stage = config.stage1.model_copy(update={"rollouts": "vllm_colocate"})
    wanted = config.model_copy(update={"stage1": stage})
    with pytest.raises(ConfigError, match=r"vllm: not installed \(install the extra gpu, or set stage1\.rollouts"):
        flow.step("stage1").make(wanted, {"ingest": shards, "base": Path(config.planner.base)}, wanted.out("stage1"))

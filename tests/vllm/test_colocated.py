"""vLLM in the trainer's process: it samples from what is trained, with and without pictures, and again the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from vllm.v1.engine.llm_engine import LLMEngine

from tests.planners import micro_config
from tracer.config import Config
from tracer.lineage.step import read_lineage
from tracer.training import stage1, stage2
from tracer.training.checkpoints import WHOLE
from tracer.training.trl import vllm
from tracer.training.trl.vllm import LAUNCHED, Generation

pytestmark = pytest.mark.vllm
ROOT = Path(__file__).parents[2]
STEPS = 4
CLOSE, STALE = 1e-5, 0.1
"""How far apart the log-probabilities of vLLM and of the trainer may be, and how far they are with old weights."""


def configured(base: Path, out: Path, *, image: bool, seed: int = 0, **changes: Any) -> Config:
    stage = {"rollouts": "vllm_colocate", "steps": STEPS, "learning_rate": 1e-2, "checkpoint_every": 2, **changes}
    config = micro_config(base, image=image, stage1=stage, stage2=stage)
    return config.model_copy(update={"build": str(out), "seed": seed})


def train(config: Config, shards: Path) -> list[dict[str, float]]:
    """Stage 1; its history."""
    stage1.STAGE.train(config, shards, Path(config.planner.base), config.out("stage1"))
    return history(config.out("stage1"))


def history(out: Path) -> list[dict[str, float]]:
    found = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(found) == STEPS
    return found


def apart(found: list[dict[str, float]]) -> list[float]:
    """Step by step, the largest difference of a sampled token's log-probability."""
    return [entry["sampling/sampling_logp_difference/max"] for entry in found]


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
def test_both_stages_sample_from_what_they_train(
    tmp_path: Path, llama: Path, shards: Path, lora: dict[str, int] | None
) -> None:
    config = configured(llama, tmp_path, image=False, lora=lora)
    first = train(config, shards)
    assert not set(LAUNCHED) & set(os.environ)
    stage2.STAGE.train(config, shards, config.out("stage1"), config.out("stage2"))  # one process, as stage 1 was
    second = history(config.out("stage2"))
    # All weights at this rate soon answer alike, so that stage 2 may find nothing to learn.
    assert any(entry["grad_norm"] > 0 for entry in [*first, *second])
    for found in (first, second):
        assert max(apart(found)) < CLOSE
        for entry in found:
            for kind in ("min", "mean", "max"):  # what tokens are weighted by
                assert entry[f"sampling/importance_sampling_ratio/{kind}"] == pytest.approx(1.0, abs=CLOSE)


def test_old_weights_would_be_noticed(
    tmp_path: Path, llama: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Generation.sync_weights
    synced: list[int] = []

    def once(self: Generation) -> None:
        if not synced:
            plain(self)
        synced.append(1)

    monkeypatch.setattr(Generation, "sync_weights", once)
    found = train(configured(llama, tmp_path, image=False), shards)
    assert len(synced) == STEPS
    assert apart(found)[0] < CLOSE and max(apart(found)) > STALE
    # What the engine samples is corrected for: the ratio is not 1, and is cut at 3.
    assert any(entry["sampling/importance_sampling_ratio/min"] < 1 - 1e-2 for entry in found)
    assert all(entry["sampling/importance_sampling_ratio/max"] <= 3.0 for entry in found)


def test_a_seed_samples_the_same_again_and_another_does_not(tmp_path: Path, llama: Path, shards: Path) -> None:
    curves = [
        train(configured(llama, tmp_path / name, image=False, seed=seed, max_prompts=2), shards)
        for name, seed in {"one": 0, "again": 0, "other": 1}.items()
    ]
    lengths = [[entry["completions/mean_length"] for entry in curve] for curve in curves]
    assert curves[0] == curves[1]
    assert lengths[0] != lengths[2]


def test_pictures_are_seen_as_the_trainer_sees_them(tmp_path: Path, qwen: Path, shards: Path) -> None:
    found = train(configured(qwen, tmp_path, image=True), shards)
    assert max(apart(found)) < CLOSE


def test_image_tokens_that_are_expanded_twice_would_be_noticed(
    tmp_path: Path, qwen: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vllm, "one_per_run", lambda tokens, token: list(tokens))
    found = train(configured(qwen, tmp_path, image=True), shards)
    assert max(apart(found)) > STALE


def test_pictures_embedded_with_old_weights_would_be_noticed(
    tmp_path: Path, qwen: Path, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LLMEngine, "reset_encoder_cache", lambda self: None)
    found = train(configured(qwen, tmp_path, image=True, max_prompts=2), shards)
    assert max(apart(found)) > CLOSE


def test_a_killed_run_ends_in_the_bytes_of_an_undisturbed_one(tmp_path: Path, llama: Path, shards: Path) -> None:
    calm, killed = (configured(llama, tmp_path / name, image=False) for name in ("calm", "killed"))
    undisturbed = train(calm, shards)
    out = killed.out("stage1")
    code = "import sys; from tests.vllm.test_colocated import killable; killable(*sys.argv[1:])"
    command = [sys.executable, "-c", code, str(llama), str(tmp_path / "killed"), str(shards)]
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True) as process:
        deadline = time.monotonic() + 300
        while not (out / "checkpoints" / "checkpoint-2" / WHOLE).exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL and not (out / "lineage.json").exists()
    assert train(killed, shards) == undisturbed
    assert read_lineage(out)["output"] == read_lineage(calm.out("stage1"))["output"]


def killable(llama: str, out: str, shards: str) -> None:
    """Stage 1 in a process of its own."""
    from functools import partial

    from trl.generation import vllm_generation

    import tests.vllm.unpacked  # noqa: F401

    vllm_generation.LLM = partial(vllm_generation.LLM, enforce_eager=True, skip_mm_profiling=True)
    train(configured(Path(llama), Path(out), image=False), Path(shards))

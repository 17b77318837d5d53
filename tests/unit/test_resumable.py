"""What a resumed run has to take up: the order of the prompts, whole checkpoints, the choice of the prompts."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from trl.trainer.utils import RepeatSampler

from tracer.training import checkpoints
from tracer.training.checkpoints import WHOLE, Checkpoints, last_checkpoint
from tracer.training.selection import load_choice, save_choice
from tracer.training.trl.named_weights import NamedWeights
from tracer.training.trl.resumable import StepSampler

STATES, GROUPS, SIZE, STEPS = 7, 2, 3, 8  # three steps an epoch; one state a epoch is left over
A_STEP = GROUPS * SIZE


def plain() -> RepeatSampler:
    return RepeatSampler(range(STATES), mini_repeat_count=SIZE, batch_size=GROUPS, shuffle=True, seed=5)


def epochs(sampler: object, count: int) -> list[int]:
    return [index for _ in range(count) for index in sampler]  # type: ignore[attr-defined]


def test_the_order_is_trls_in_every_epoch() -> None:
    step, order = 0, []
    sampler = StepSampler(plain(), lambda: step, steps=100)
    for _ in range(3):
        order += list(sampler)
        step += len(sampler) // A_STEP
    assert order == epochs(plain(), 3)


@pytest.mark.parametrize("step", range(STEPS))
def test_a_new_process_takes_up_the_order_of_its_epoch(step: int) -> None:
    per_epoch = len(plain()) // A_STEP
    epoch, within = divmod(step, per_epoch)
    resumed = list(StepSampler(plain(), lambda: step, steps=STEPS))[within * A_STEP :]
    uninterrupted = epochs(plain(), epoch + 1)[step * A_STEP :]
    assert resumed == uninterrupted


def test_trls_own_sampler_begins_again_with_the_first_epoch() -> None:
    """Why StepSampler exists; if this fails, TRL has fixed it."""
    first, second = list(plain()), epochs(plain(), 2)[len(plain()) :]
    assert first != second
    assert list(plain()) == first  # what a resumed run would train its second epoch on


def test_nothing_is_left_after_the_last_step() -> None:
    assert list(StepSampler(plain(), lambda: STEPS, steps=STEPS)) == []


def checkpoint(folder: Path, name: str, whole: bool = True) -> Path:
    path = folder / name
    (path / "inner").mkdir(parents=True)
    (path / "inner" / "weights").write_text("weights")
    (path / "trainer_state.json").write_text("{}")
    if whole:
        (path / WHOLE).touch()
    return path


def test_only_whole_checkpoints_are_taken_up(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    checkpoint(tmp_path, "checkpoint-4")
    whole = checkpoint(tmp_path, "checkpoint-10")
    broken = checkpoint(tmp_path, "checkpoint-12", whole=False)
    assert last_checkpoint(tmp_path) == str(whole)
    assert not broken.exists()


def test_a_checkpoint_is_marked_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, written = checkpoint(tmp_path, "checkpoint-1"), checkpoint(tmp_path, "checkpoint-2", whole=False)
    synced: list[tuple[str, bool, bool]] = []
    real = checkpoints._sync

    def sync(path: Path) -> None:
        synced.append((path.name, (written / WHOLE).exists(), old.exists()))
        real(path)

    monkeypatch.setattr(checkpoints, "_sync", sync)
    Checkpoints(tmp_path, keep=1).on_save(None, SimpleNamespace(global_step=2), None)
    assert last_checkpoint(tmp_path) == str(written) and not old.exists()
    unmarked = {name for name, marked, _ in synced if not marked}
    # All of it is on the disk before it counts,
    assert unmarked == {"checkpoint-2", "inner", "weights", "trainer_state.json"}
    assert synced[-1] == (tmp_path.name, True, True)  # and the mark, before an older one goes


def test_the_choice_is_kept(tmp_path: Path) -> None:
    assert load_choice(tmp_path) is None
    save_choice(tmp_path, [4, 1])
    assert load_choice(tmp_path) == [4, 1]


def test_an_adapter_beside_its_frozen_copy_is_taken_up(tmp_path: Path) -> None:
    """With a KL term TRL keeps a copy of the adapter that training starts from, and the Trainer would load it alone."""

    class Plain:
        is_fsdp_enabled = False

    class Resumed(NamedWeights, Plain):
        pass

    trained, fresh = adapted(), adapted()
    for name, weight in trained.named_parameters():
        if ".default." in name:
            torch.nn.init.normal_(weight)
    trained.save_pretrained(tmp_path)
    assert (tmp_path / "ref").is_dir()
    Resumed()._load_from_checkpoint(str(tmp_path), fresh)
    assert all(torch.equal(weight, fresh.state_dict()[name]) for name, weight in trained.state_dict().items())


def adapted() -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    small = LlamaConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=20)
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(small), lora)
    model.add_adapter("ref", lora)
    return model

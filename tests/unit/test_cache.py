"""A cache with room to spare holds, bit for bit, what the one of transformers holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers.cache_utils import DynamicCache

from tracer.planner import cache

SIZES = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}


def added(count: int, seed: int, rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(seed)
    return torch.randn(rows, 3, count, 8), torch.randn(rows, 3, count, 4)


@pytest.mark.parametrize("room", [1, 5, 512])
@torch.inference_mode()
def test_keys_and_values_are_those_of_transformers(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "ROOM", room)
    torch.manual_seed(0)
    ours, theirs = cache.cache(LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS))), DynamicCache()
    rows = 2
    for seed, count in enumerate((7, 1, 1, 3, 1, 9)):
        for layer in range(2):
            found, expected = (each.update(*added(count, 2 * seed + layer, rows), layer) for each in (ours, theirs))
            assert all(map(torch.equal, found, expected))
        if seed == 2:  # a search among beams takes some rows and leaves others
            rows = 3
            for each in (ours, theirs):
                each.batch_select_indices(torch.tensor([1, 0, 1]))
        if seed == 3:
            for each in (ours, theirs):
                each.crop(-2)
    assert ours.get_seq_length() == theirs.get_seq_length() == 20


@pytest.mark.parametrize("windows", [False, True])
def test_generation_is_the_same(windows: bool) -> None:
    torch.manual_seed(0)
    model: Any = LlamaForCausalLM(LlamaConfig(**SIZES, **HEADS))
    if windows:
        model = MistralForCausalLM(MistralConfig(**SIZES, **HEADS, sliding_window=6))
    ids = torch.randint(2, 64, (3, 9))
    mask = torch.ones_like(ids)
    mask[0, :4] = 0
    given = {"input_ids": ids, "attention_mask": mask, "max_new_tokens": 20, "pad_token_id": 0, "eos_token_id": None}
    given |= {"do_sample": False, "output_logits": True, "return_dict_in_generate": True}
    expected = model.eval().generate(**given)
    found = model.generate(**given, past_key_values=cache.cache(model))
    assert torch.equal(found.sequences, expected.sequences)
    assert all(map(torch.equal, found.logits, expected.logits))

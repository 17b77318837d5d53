"""The weights that vLLM is sent, against TRL's own: the same, and the base stays as it was."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
from trl.generation.vllm_generation import VLLMGeneration

from tracer.training.trl.vllm import keep_base


def generation(dtype: torch.dtype) -> VLLMGeneration:
    """TRL's, without the vLLM behind it."""
    torch.manual_seed(0)
    small = LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=50)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(small).to(dtype), lora)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.01)
    made = VLLMGeneration.__new__(VLLMGeneration)
    made.model = model
    made._dist = SimpleNamespace(gather_params=lambda _: nullcontext(), is_fsdp=False)
    return made


def test_the_weights_are_trls_and_have_its_names() -> None:
    made = generation(torch.float32)
    theirs = {name: weight.clone() for name, weight in made._iter_named_params()}
    keep_base(made)
    ours = dict(made._iter_named_params())
    assert list(ours) == list(theirs)
    assert all(torch.allclose(ours[name], weight, atol=1e-6) for name, weight in theirs.items())
    base = dict(LlamaForCausalLM(made.model.config).named_parameters())
    assert set(ours) <= set(base)


def test_the_base_does_not_drift() -> None:
    made = generation(torch.bfloat16)

    def base() -> dict[str, torch.Tensor]:
        return {name: weight.clone() for name, weight in made.model.named_parameters() if "lora_" not in name}

    before = base()
    for _ in made._iter_named_params():  # TRL's way
        pass
    drifted = base()
    assert any(not weight.equal(before[name]) for name, weight in drifted.items())
    keep_base(made)
    for _ in made._iter_named_params():
        pass
    assert all(weight.equal(drifted[name]) for name, weight in base().items())

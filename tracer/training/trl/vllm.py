"""What vLLM is sent while a low-rank adapter is trained: the base's weights with the adapter's update added.

TRL merges the adapter into the base at every step and takes it out again. In bf16 the difference does not cancel: the
base drifts (trl#6688, measured there; here by half of what the adapter learns in 300 steps), and the adapter is trained
on weights that nobody saved.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch

from tracer.planner.lora import NAME as ADAPTER


def keep_base(generation: Any) -> None:
    """Let a ``trl.generation.vllm_generation.VLLMGeneration`` send merged weights without touching the base."""
    generation._iter_named_params = MethodType(merged, generation)


def merged(generation: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight under the name vLLM expects, one at a time; gathered first, where ZeRO-3 has them sharded."""
    model = generation.model
    with generation._dist.gather_params(list(model.parameters())):
        for name, weight in model.named_parameters():
            if model.prefix in name or "original_module" in name:  # the adapter itself, and what it replaced
                continue
            layer, found, _ = name.rpartition(".base_layer.weight")
            value = weight.data
            if found:
                update = model.get_submodule(layer).get_delta_weight(ADAPTER)
                value = (value.float() + update.float()).to(value.dtype)
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            yield generation._fix_param_name_to_vllm(plain, extra_prefixes=["modules_to_save.default."]), value

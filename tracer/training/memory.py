"""How much memory a stage needs on each GPU, from the shapes alone: no weight is loaded, no GPU is touched.

An estimate, for choosing a profile before queueing for the hardware. tests/gpu measures what it is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.training.settings import GrpoConfig

GIGA = 1e9
GPU = 80.0
"""Gigabytes of the GPU whose share a colocated vLLM takes."""
OVERHEAD = 1.5e9
"""CUDA's context, kernels and what the allocator cannot use, in bytes."""
KEPT_PER_LAYER = 34
"""Bytes a token and hidden unit that a layer keeps for the backward pass in 16 bit, attention scores aside
(Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, equation 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What of a model its memory follows from."""

    parameters: int
    hidden: int
    layers: int
    vocabulary: int
    cache: int
    """Numbers that one token keeps in the key-value cache."""
    linear: int
    """Numbers of input and output that an adapter of rank 1 on every linear layer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Gigabytes a GPU, by what holds them."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    rollouts: float
    rollouts_stay: bool
    """Whether their memory stays taken during the update, as that of a colocated vLLM that does not sleep."""
    overhead: float = OVERHEAD / GIGA

    @property
    def total(self) -> float:
        """The peak, in GB: the update and the rollouts do not need memory at the same time unless vLLM keeps it."""
        update = self.activations + self.logits
        passing = update + self.rollouts if self.rollouts_stay else max(update, self.rollouts)
        return self.weights + self.gradients + self.optimizer + passing + self.overhead


def shape_of(folder: Path) -> Shape:
    """The shape of the model in a folder, from its config.json; it is built on torch's meta device, without memory."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder)
    pictured = hasattr(config, "vision_config")
    with torch.device("meta"):
        model = (AutoModelForImageTextToText if pictured else AutoModelForCausalLM).from_config(config)
    return shape(model)


def shape(model: Any) -> Shape:
    """The shape of a model, on whatever device."""
    import torch

    text = model.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    output = model.get_output_embeddings()
    return Shape(
        parameters=sum(weight.numel() for weight in model.parameters()),
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        vocabulary=text.vocab_size,
        cache=2 * text.num_hidden_layers * heads * width,
        linear=sum(part.in_features + part.out_features for part in linear if part is not output),
    )


def estimate(shape: Shape, config: Config, stage: GrpoConfig) -> Estimate:
    """Gigabytes a GPU of ``GPU`` gigabytes, at the longest prompt and completion of the configuration."""
    launch, width = config.launch, 2 if stage.bf16 else 4
    shards = launch.processes if launch.strategy in ("fsdp2", "zero3") else 1
    trained = stage.lora.rank * shape.linear if stage.lora else shape.parameters
    # Frozen weights stay as the base was saved; trained ones are kept in 32 bit, with a copy in 16 for computing.
    frozen = width if stage.lora else (4 + (2 if stage.bf16 and shards > 1 else 0))
    rows = stage.groups * stage.group_size // stage.accumulation // launch.processes
    length = config.planner.max_prompt_tokens + config.planner.max_new_tokens
    tokens = rows * length
    recomputed = stage.gradient_checkpointing or launch.strategy == "fsdp2"
    kept = KEPT_PER_LAYER * width / 2
    # With checkpoints a layer keeps its input alone, and one layer at a time all of it.
    layers = 2 * width * shape.layers / 2 + kept if recomputed else kept * shape.layers
    colocated = stage.rollouts == "vllm_colocate"
    cache = 0.0 if stage.rollouts.startswith("vllm") else tokens * shape.cache * width
    # A KL term to all weights needs those it began with, in 32 bit; an adapter is switched off for them.
    began = shape.parameters * 4 if stage.kl and not stage.lora else 0
    return Estimate(
        weights=(shape.parameters * frozen + began + (trained * 4 if stage.lora else 0)) / shards / GIGA,
        gradients=trained * 4 / shards / GIGA,
        optimizer=trained * 8 / shards / GIGA,
        activations=tokens * shape.hidden * layers / GIGA,
        # Logits, their logarithms and their gradient, in 32 bit, of the completions alone.
        logits=3 * rows * config.planner.max_new_tokens * shape.vocabulary * 4 / GIGA,
        rollouts=(launch.vllm_memory * GPU if colocated else cache / GIGA),
        rollouts_stay=colocated and not launch.vllm_sleep,
    )


def tokens_per_step(config: Config, stage: GrpoConfig) -> dict[str, int]:
    """At most this many tokens per step: prompts as they are read, and completions as they are written."""
    return {
        "prompts": stage.groups * config.planner.max_prompt_tokens,
        "completions": stage.groups * stage.group_size * config.planner.max_new_tokens,
    }

"""How much memory a stage needs on each GPU, from the shapes alone. tests/gpu measures what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from tracer.config import Config
from tracer.planner.shape import Shape
from tracer.training.settings import SHARDED, GrpoConfig

GIGA = 1e9
GPU = 80.0
"""Gigabytes of the GPU whose share a colocated vLLM takes, where none is named."""
OVERHEAD = 1.5e9
"""CUDA's context, kernels and what the allocator cannot use, in bytes."""
KEPT_PER_LAYER = 34
"""Bytes a token and hidden unit that a layer keeps for the backward pass in 16 bit, attention scores aside
(Korthikanti et al., Reducing Activation Recomputation in Large Transformer Models, equation 1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Gigabytes a GPU, by what holds them."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    rollout_weights: float
    """A colocated vLLM's own copy."""
    cache: float
    """Keys and values; with vLLM what its share has left for them, which may be less than none."""
    rollouts_stay: bool
    """Whether their memory stays taken during the update, as that of a colocated vLLM that does not sleep."""
    overhead: float = OVERHEAD / GIGA

    @property
    def total(self) -> float:
        """The peak, in GB: the update and the rollouts do not need memory at the same time unless vLLM keeps it."""
        update, rollouts = self.activations + self.logits, self.rollout_weights + self.cache
        passing = update + rollouts if self.rollouts_stay else max(update, rollouts)
        return self.weights + self.gradients + self.optimizer + passing + self.overhead


def estimate(shape: Shape, config: Config, stage: GrpoConfig, gpu: float = GPU) -> Estimate:
    """Gigabytes a GPU of ``gpu`` gigabytes, at the longest prompt and completion of the configuration."""
    launch, width = config.launch, 2 if stage.bf16 else 4
    shards = launch.processes if launch.strategy in SHARDED else 1
    trained = stage.lora.rank * shape.linear if stage.lora else shape.parameters
    # Frozen weights stay as the base was saved; trained ones are kept in 32 bit, with a copy in 16 for computing.
    frozen = width if stage.lora else (4 + (2 if stage.bf16 and shards > 1 else 0))
    rows = stage.groups * stage.group_size // stage.accumulation // launch.processes
    tokens = rows * longest(config)
    recomputed = recomputes(config, stage)
    kept = KEPT_PER_LAYER * width / 2
    # With checkpoints a layer keeps its input alone, and one layer at a time all of it.
    layers = 2 * width * shape.layers / 2 + kept if recomputed else kept * shape.layers
    colocated = stage.rollouts == "vllm_colocate"
    copy = shape.parameters * width / launch.vllm_tensor_parallel / GIGA if colocated else 0.0
    cache = 0.0 if stage.rollouts.startswith("vllm") else tokens * shape.cache * width / GIGA
    # A KL term to all weights needs those it began with, in 32 bit; an adapter is switched off for them.
    began = shape.parameters * 4 if stage.kl and not stage.lora else 0
    return Estimate(
        weights=(shape.parameters * frozen + began + (trained * 4 if stage.lora else 0)) / shards / GIGA,
        gradients=trained * 4 / shards / GIGA,
        optimizer=trained * 8 / shards / GIGA,
        activations=tokens * shape.hidden * layers / GIGA,
        # Logits, their logarithms and their gradient, in 32 bit, of the completions alone.
        logits=3 * rows * config.planner.max_new_tokens * shape.vocabulary * 4 / GIGA,
        rollout_weights=copy,
        cache=launch.vllm_memory * gpu - copy if colocated else cache,
        rollouts_stay=colocated and not launch.vllm_sleep,
    )


def longest(config: Config) -> int:
    """Tokens of the longest prompt with the longest completion."""
    return config.planner.max_prompt_tokens + config.planner.max_new_tokens


def recomputes(config: Config, stage: GrpoConfig) -> bool:
    """Whether the backward pass computes each layer again instead of keeping it."""
    return stage.gradient_checkpointing or config.launch.strategy == "fsdp2"

"""How long a stage takes, from what EasyR1's published runs took: seconds a token, for rollouts and for updates.

Their tokens a second and GPU (hiyouga/EasyR1 on GitHub, v0.3.2, Qwen2.5-VL on eight H100) are met by 400
microseconds a token and 38 more for every billion weights. Each token goes forwards three times (sampled, scored,
scored by the reference) and through an update that costs four times as much as one of these, so 38 microseconds are
37 % of the GPU's operations. The utilisation of their update says that it takes about half of a step: it gets half of
the 400.
"""

from __future__ import annotations

from dataclasses import dataclass

from tracer.capacity.fleet import Gpu
from tracer.capacity.memory import GIGA, Estimate, longest, recomputes
from tracer.config import Config
from tracer.planner.shape import Shape
from tracer.training.settings import GrpoConfig

EFFICIENCY = 7 * 2 * 1e9 / (38e-6 * 989e12)
"""The share of a GPU's operations that training gets: seven passes of two operations a weight, in 38 microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What there is to compute: mean tokens of a prompt and of a completion, and the states that are selected from."""

    prompt: float
    completion: float
    states: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Hours of a stage, one after the other."""

    rollouts: float
    training: float


def hours(shape: Shape, config: Config, stage: GrpoConfig, work: Work, gpu: Gpu, held: Estimate) -> Hours:
    """The hours of a stage on the profile's GPUs, a vLLM server's beside them. ``held`` says how many fit at a time."""
    launch, tokens = config.launch, work.prompt + work.completion
    server = stage.rollouts == "vllm_server"
    samplers = launch.vllm_tensor_parallel if server else launch.processes
    forward = 2 * shape.parameters / (gpu.flops * 1e12 * EFFICIENCY)
    fixed = gpu.overhead * 1e-6 / 2
    # Each new token of all that are sampled together takes one reading of the weights.
    width = 2 if stage.bf16 else 4
    rows = stage.groups * stage.group_size
    reading = shape.parameters * width / (gpu.bandwidth * GIGA * at_once(shape, config, stage, gpu, held))
    sampled = tokens * (fixed + forward) + work.completion * reading
    scored = tokens * forward * (stage.rollouts.startswith("vllm") + (stage.kl > 0))
    updated = tokens * (fixed + forward * (2 + (stage.lora is None) + recomputes(config, stage)))
    steps = stage.steps if stage.tokens is None else min(stage.steps, stage.tokens / (rows * work.completion))
    selected = (stage.max_prompts or work.states) * stage.pass_rate_samples
    return Hours(
        rollouts=((steps * rows + selected) * sampled / samplers + steps * rows * scored / launch.processes) / 3600,
        training=steps * rows * updated / launch.processes / 3600,
    )


def shown_time(took: float) -> str:
    """Hours as people say them."""
    return f"{took:.1f} h" if took >= 1 else f"{max(1, round(took * 60))} min"


def at_once(shape: Shape, config: Config, stage: GrpoConfig, gpu: Gpu, held: Estimate) -> float:
    """How many completions a GPU samples at a time: those of a step, as far as vLLM has memory for them."""
    width, launch = 2 if stage.bf16 else 4, config.launch
    server = stage.rollouts == "vllm_server"
    rows = stage.groups * stage.group_size / (launch.vllm_tensor_parallel if server else launch.processes)
    if not stage.rollouts.startswith("vllm"):
        return rows / stage.accumulation
    room = server_room(shape, config, gpu) if server else held.cache
    return max(1.0, min(rows, room / sequence(shape, config, width)))


def sequence(shape: Shape, config: Config, width: int = 2) -> float:
    """Gigabytes of keys and values of the longest sequence."""
    return longest(config) * shape.cache * width / GIGA


def server_room(shape: Shape, config: Config, gpu: Gpu) -> float:
    """Gigabytes that the weights leave on each GPU of a vLLM server, which takes nine tenths of it."""
    return 0.9 * gpu.memory - shape.parameters * 2 / config.launch.vllm_tensor_parallel / GIGA

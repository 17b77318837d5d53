"""What a profile needs and takes on a fleet: `tracer plan`. Nothing is loaded, started or written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tracer.capacity import fleet, memory
from tracer.capacity.fleet import Gpu
from tracer.capacity.hours import EFFICIENCY, Hours, Work, hours, sequence, server_room, shown_time
from tracer.capacity.memory import GIGA, Estimate
from tracer.config import Config
from tracer.planner import hub
from tracer.planner.lora import holds_model, model_folder
from tracer.planner.shape import Shape, shape_of
from tracer.settings import ConfigError
from tracer.stages import STAGES
from tracer.training.errors import memory_fixes
from tracer.training.preflight import disk_bytes
from tracer.training.settings import GrpoConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """What one stage needs and takes."""

    name: str
    memory: Estimate
    """Of each GPU that trains."""
    accumulation: int | None
    """The smallest with which it fits, and so the largest batch; None where none fits."""
    batch: int
    """Completions of the largest batch that fits on a GPU at a time."""
    hours: Hours
    storage: float
    """Gigabytes of checkpoints and of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a profile needs and takes on so many GPUs of one kind."""

    profile: str
    gpu: str
    count: int
    stages: tuple[StagePlan, ...]
    storage: float
    """Gigabytes, the base's weights included."""
    cost: float
    assumptions: tuple[tuple[str, str], ...]
    """Each with its source."""
    refused: tuple[str, ...]
    """Why it cannot be, each with what to change."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON; a stage's memory with its total."""
        stages = [
            {**asdict(each), "memory": {**asdict(each.memory), "total": each.memory.total}} for each in self.stages
        ]
        return {**asdict(self), "stages": stages}

    def __str__(self) -> str:
        cpu = self.gpu == fleet.CPU
        gpu, cost = ("", "") if cpu else (" a GPU", f", {self.cost:.2f} US dollars")
        lines = [f"{self.profile} on " + ("two cores, without a GPU" if cpu else f"{self.count} {self.gpu}")]
        for each in self.stages:
            parts = ", ".join(f"{name} {value:.2f}" for name, value in parts_of(each.memory).items())
            batch = f"{each.batch} completions (accumulation {each.accumulation})" if each.accumulation else "none"
            lines += [
                f"{each.name}: {each.memory.total:.2f} GB{gpu}: {parts}",
                f"  largest batch that fits{' on a GPU' if gpu else ''}: {batch}",
                f"  rollouts {shown_time(each.hours.rollouts)}, training {shown_time(each.hours.training)}",
                f"  {each.storage:.2f} GB of checkpoints and model",
            ]
        took = sum(each.hours.rollouts + each.hours.training for each in self.stages)
        lines.append(f"in all: {shown_time(took)}, {self.storage:.2f} GB on disk{cost}")
        if cpu:
            lines.append("for a GPU: --gpu, which takes those of tracer/capacity/fleet.yaml")
        lines += ["assumed:", *(f"  {what} ({source})" for what, source in self.assumptions)]
        return "\n".join([*lines, *(f"REFUSED {why}" for why in self.refused)])


def plan(config: Config, name: str, gpu: Gpu, count: int | None = None, work: Work | None = None) -> Plan:
    """Plan every stage of a profile for ``count`` GPUs, by default those that it asks for.

    ``work`` has means where they are known; by default everything is as long as it may be. Raises ``ConfigError`` for a
    base whose shape is not known, and for means above the limits of the profile.
    """
    shape, source = base_shape(config)
    limits = Work(prompt=config.planner.max_prompt_tokens, completion=config.planner.max_new_tokens)
    work = work or limits
    for key, mean, most in (
        ("max_prompt_tokens", work.prompt, limits.prompt),
        ("max_new_tokens", work.completion, limits.completion),
    ):
        if mean > most:
            raise ConfigError(f"{mean:g} tokens on average are above planner.{key}, {most:g}: raise it, or give less")
    options = [(stage.name, stage.options(config)) for stage in STAGES]
    servers = any(each.rollouts == "vllm_server" for _, each in options) * config.launch.vllm_tensor_parallel
    needed = config.launch.processes + servers
    stages = tuple(_stage(each, option, shape, config, gpu, work) for each, option in options)
    took = sum(each.hours.rollouts + each.hours.training for each in stages)
    refused = [why for each in stages for why in _refusals(each, shape, config, name, gpu)]
    if (count or needed) < needed:
        more = f" and {servers} for the vLLM server" if servers else ""
        refused.append(
            f"the profile trains on {config.launch.processes} GPUs{more}, and there are {count}: set launch.gpus"
        )
    return Plan(
        profile=config.profile,
        gpu=name,
        count=count or needed,
        stages=stages,
        storage=shape.parameters * 2 / GIGA + sum(each.storage for each in stages),
        cost=took * gpu.price * (count or needed),
        assumptions=tuple(_assumptions(config, [each for _, each in options], shape, source, gpu, work)),
        refused=tuple(refused),
    )


def base_shape(config: Config) -> tuple[Shape, str]:
    """The shape of the base and where it is from: its folder, or a table for one that was not downloaded yet."""
    if holds_model(folder := hub.folder(config)):
        return shape_of(model_folder(folder)), str(folder)
    if (found := fleet.published(config.planner.base)) is None:
        raise ConfigError(
            f"the shape of {config.planner.base} is not known, without which nothing can be planned: "
            f"{hub.absent(config)}"
        )
    return found


def parts_of(found: Estimate) -> dict[str, float]:
    """An estimate's gigabytes by part."""
    return {name: value for name, value in asdict(found).items() if name != "rollouts_stay"}


def _stage(name: str, stage: GrpoConfig, shape: Shape, config: Config, gpu: Gpu, work: Work) -> StagePlan:
    held = memory.estimate(shape, config, stage, gpu.memory)
    finer = (
        stage.model_copy(update={"accumulation": each})
        for each in range(1, stage.groups + 1)
        if stage.groups % each == 0 and stage.groups // each % config.launch.processes == 0
    )
    fits = (each for each in finer if memory.estimate(shape, config, each, gpu.memory).total <= gpu.memory)
    accumulation = next((each.accumulation for each in fits), None)
    rows = stage.groups * stage.group_size // config.launch.processes
    return StagePlan(
        name=name,
        memory=held,
        accumulation=accumulation,
        batch=rows // accumulation if accumulation else 0,
        hours=hours(shape, config, stage, work, gpu, held),
        storage=disk_bytes(stage, shape) / GIGA,
    )


def _refusals(found: StagePlan, shape: Shape, config: Config, name: str, gpu: Gpu) -> Iterator[str]:
    stage: GrpoConfig = getattr(config, found.name)
    if found.memory.total > gpu.memory:
        fixes = memory_fixes(config, found.name)
        if found.accumulation:
            fixes = [f"set {found.name}.accumulation={found.accumulation}, with which it fits"]
        yield (
            f"{found.name} needs {found.memory.total:.1f} GB on each GPU, and {name} has {gpu.memory:g}; in this "
            f"order: {'; '.join(fixes)}"
        )
    room = server_room(shape, config, gpu) if stage.rollouts == "vllm_server" else found.memory.cache
    if stage.rollouts.startswith("vllm") and room < sequence(shape, config):
        yield (
            f"{found.name}: the memory of vLLM does not hold the weights and one sequence of {memory.longest(config)} "
            f"tokens: {sequence(shape, config) - room:.1f} GB are missing on each of its GPUs; raise "
            f"launch.vllm_memory ({config.launch.vllm_memory:g}, of a colocated one) or launch.vllm_tensor_parallel"
        )


def _assumptions(
    config: Config, stages: Sequence[GrpoConfig], shape: Shape, source: str, gpu: Gpu, work: Work
) -> Iterator[tuple[str, str]]:
    longest = (work.prompt, work.completion) == (config.planner.max_prompt_tokens, config.planner.max_new_tokens)
    yield f"{shape.parameters / 1e9:.3f} billion weights", source
    cpu = gpu == fleet.gpu(fleet.CPU)
    price = f", {gpu.price:g} US dollars an hour" if gpu.price else ""
    yield f"{gpu.flops:g} TFLOP/s, {gpu.bandwidth:g} GB/s{price}", gpu.source
    yield (
        f"prompts of {work.prompt:g} tokens and completions of {work.completion:g}, on average",
        "the limits of the profile, so it takes at most this long" if longest else "as given",
    )
    yield (
        f"{EFFICIENCY:.0%} of those operations, and {gpu.overhead:g} microseconds a token",
        gpu.source if cpu else "EasyR1 v0.3.2, its published runs",
    )
    yield f"a layer keeps {memory.KEPT_PER_LAYER} bytes a token and hidden unit", "Korthikanti et al., equation 1"
    yield "three copies of a completion's logits in 32 bit; nothing for the vision tower's activations", "not measured"
    holder = "Python and torch" if cpu else "CUDA's context"
    yield f"{memory.OVERHEAD / GIGA} GB for {holder} and what the allocator cannot use", "not measured"
    if any(each.pass_rate_samples and not (each.max_prompts or work.states) for each in stages):
        yield "no time for the rollouts that select the states", "their number is not known: --states"
    if gpu.overhead and not all(each.rollouts.startswith("vllm") for each in stages):
        yield "rollouts of transformers as fast as vLLM's", "not measured; they take several times as long"

"""`tracer train STAGE --dry-run`: what a stage would do and need.

It writes nothing, and works before anything was made: what is not there yet is said, and skipped. What a person asks
for comes first, and the whole configuration last; together they are one YAML document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from tracer.capacity import fleet, memory
from tracer.capacity.hours import Work, hours, shown_time
from tracer.capacity.plan import parts_of
from tracer.config import Config
from tracer.lineage.digest import begun, digest_of, finished, writer
from tracer.lineage.step import expected_digest
from tracer.planner import hub
from tracer.planner.lora import holds_model
from tracer.planner.shape import shape_of
from tracer.training.launch import command, shown, vllm_server
from tracer.training.preflight import check, weights_of
from tracer.training.stage import Stage


def dry_run(config: Config, stage: Stage, trajectories: Path, start: Path, out: Path, more: Sequence[str] = ()) -> str:
    """What the stage would do, as text; reads what is there, writes nothing. ``more``: how it was asked for."""
    options = stage.options(config)
    rows, planner = options.groups * options.group_size, config.planner
    ready = holds_model(start)
    parts = [*_state(config, stage, trajectories, start, out), *_needs(config, stage, start if ready else None)]
    parts.append(
        f"# tokens per step, at most: {options.groups * planner.max_prompt_tokens:,} of prompts, "
        f"{rows * planner.max_new_tokens:,} of completions ({options.groups} groups of {options.group_size})"
    )
    parts.append(f"# launched with: {shown(command(config.launch, stage.name, config.profile, more=more))}")
    if options.rollouts == "vllm_server":
        weights = weights_of(start) if ready else start / "model"
        server = shown(
            vllm_server(config.launch, weights, memory.longest(config), "bfloat16" if options.bf16 else "float32")
        )
        parts.append(f"# asks the vLLM server at {config.launch.vllm_host}, started there with: {server}")
    recipe = stage.recipe(config, trajectories, start)
    parts.append(f"# configuration {digest_of({'config': recipe['config'], 'seed': config.seed})}")
    parts.append(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
    return "\n".join(parts)


def _state(config: Config, stage: Stage, trajectories: Path, start: Path, out: Path) -> Iterator[str]:
    """Whether it is made or would be, and what stands in its way."""
    missing = [_missing(path) for path in (trajectories, start) if not path.exists() or begun(path)]
    if missing:
        yield f"# not made yet: {', '.join(missing)}; the data and the step's digest follow from them"
        return
    digest = expected_digest(**stage.recipe(config, trajectories, start))
    done = finished(out)
    state = (
        "finished already" if done and done["digest"] == digest else "another digest is there" if done else "to be made"
    )
    yield f"# digest {digest} ({state}: {out})"
    for finding in check(config, stage, trajectories, start, out):
        yield from (f"# {line}" for line in finding.lines())


def _missing(path: Path) -> str:
    process = writer(path)
    return f"{path} (process {process} is making it now)" if process else str(path)


def _needs(config: Config, stage: Stage, start: Path | None) -> Iterator[str]:
    """Memory and time, where the model's shape is known."""
    options, planner = stage.options(config), config.planner
    known = (shape_of(weights_of(start)), "") if start else fleet.published(planner.base)
    if known is None:
        yield f"# memory and time follow from the size of the base planner: {hub.absent(config)}"
        return
    model, name = known[0], fleet.usual(config)
    gpu, cpu = fleet.gpu(name), name == fleet.CPU
    found = memory.estimate(model, config, options, gpu.memory)
    held = ", ".join(f"{part} {value:.2f}" for part, value in parts_of(found).items())
    yield (
        f"# memory{'' if cpu else ' a GPU'}, estimated: {found.total:.2f} GB ({held}); "
        f"{model.parameters / 1e6:,.1f} million weights"
    )
    work = Work(prompt=planner.max_prompt_tokens, completion=planner.max_new_tokens, states=options.max_prompts or 0)
    took = hours(model, config, options, work, gpu, found)
    yield (
        f"# time on {name}, estimated for the longest prompts and answers: {shown_time(took.rollouts + took.training)} "
        f"(`{config.command('plan')}` says what that assumes)"
    )

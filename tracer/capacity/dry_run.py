"""`tracer train STAGE --dry-run`: what a stage would do and need.

It writes nothing, and works before anything was made: what is not there yet is said, and skipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from tracer.capacity import fleet, memory
from tracer.capacity.plan import parts_of
from tracer.config import Config
from tracer.lineage.digest import digest_of, finished
from tracer.lineage.step import expected_digest
from tracer.planner.shape import Shape, shape_of
from tracer.training.launch import command, shown, vllm_server
from tracer.training.preflight import check, weights_of
from tracer.training.settings import GrpoConfig
from tracer.training.stage import Stage


def dry_run(config: Config, stage: Stage, trajectories: Path, start: Path, out: Path, more: Sequence[str] = ()) -> str:
    """What the stage would do, as text; reads what is there, writes nothing. ``more``: how it was asked for."""
    options = stage.options(config)
    parts = [yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip()]
    rows, planner = options.groups * options.group_size, config.planner
    parts.append(
        f"# tokens per step, at most: {options.groups * planner.max_prompt_tokens:,} of prompts, "
        f"{rows * planner.max_new_tokens:,} of completions ({options.groups} groups of {options.group_size})"
    )
    parts.append(f"# launched with: {shown(command(config.launch, stage.name, config.profile, more=more))}")
    if options.rollouts == "vllm_server":
        weights = weights_of(start) if start.exists() else start / "model"
        server = shown(
            vllm_server(config.launch, weights, memory.longest(config), "bfloat16" if options.bf16 else "float32")
        )
        parts.append(f"# asks the vLLM server at {config.launch.vllm_host}, started there with: {server}")
    recipe = stage.recipe(config, trajectories, start)
    parts.append(f"# configuration {digest_of({'config': recipe['config'], 'seed': config.seed})}")
    known = (shape_of(weights_of(start)), "") if start.exists() else fleet.published(planner.base)
    if known is not None:
        parts.append(_memory(config, options, known[0]))
    missing = [str(path) for path in (trajectories, start) if not path.exists()]
    if missing:
        parts.append(f"# not made yet: {', '.join(missing)}; the data and the step's digest follow from them")
        return "\n".join(parts) + "\n"
    digest = expected_digest(**recipe)
    done = finished(out)
    state = (
        "finished already" if done and done["digest"] == digest else "another digest is there" if done else "to be made"
    )
    parts.append(f"# digest {digest} ({state}: {out})")
    for finding in check(config, stage, trajectories, start, out):
        parts.append(f"# {'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}")
        if not finding.ok:
            parts.append(f"#      -> {finding.fix}")
    return "\n".join(parts) + "\n"


def _memory(config: Config, options: GrpoConfig, model: Shape) -> str:
    found = memory.estimate(model, config, options)
    held = ", ".join(f"{name} {value:.2f}" for name, value in parts_of(found).items())
    return f"# memory a GPU, estimated: {found.total:.2f} GB ({held}); {model.parameters / 1e6:,.1f} million weights"

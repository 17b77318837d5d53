"""Before a GPU is touched: what a stage would do, whether its data fits its model, and whether its disk holds it.

``dry_run`` is what `tracer train stage1 --dry-run` prints. It writes nothing, and works before anything was made: what
is not there yet is said, and skipped. ``require`` is what training itself runs on a machine with GPUs.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from tracer.config import Config
from tracer.dataset import read
from tracer.examples import chunks, examples
from tracer.finding import Finding
from tracer.lineage.digest import digest_of, finished
from tracer.lineage.step import expected_digest
from tracer.planner.length import PromptLength
from tracer.planner.lora import adapted, check_start, model_folder
from tracer.planner.plan import PlannerSettings
from tracer.settings import ConfigError
from tracer.training import memory
from tracer.training.launch import command, shown, vllm_server
from tracer.training.settings import GrpoConfig
from tracer.training.stage import Stage

MAX_CUT = 0.0
"""The share of prompts that may be longer than planner.max_prompt_tokens: cut below its image, a prompt breaks."""
CHUNK = 256


def require(config: Config, stage: Stage, trajectories: Path, start: Path, out: Path) -> None:
    """Raise ``ConfigError`` if the stage cannot work, with every reason and its fix."""
    _refuse(check(config, stage, trajectories, start, out))


def _refuse(findings: Sequence[Finding]) -> None:
    wrong = [finding for finding in findings if not finding.ok]
    if wrong:
        raise ConfigError("; ".join(f"{finding.name}: {finding.detail} ({finding.fix})" for finding in wrong))


def before_training(config: Config, stage: Stage, trajectories: Path, start: Path, out: Path) -> None:
    """``require`` on a machine with GPUs. On the CPU validation has counted the tokens already, so that only what the
    rollouts need is looked for.
    """
    import torch

    if torch.cuda.is_available():
        require(config, stage, trajectories, start, out)
    else:
        _refuse(_rollouts(stage.name, stage.options(config)))


def check(config: Config, stage: Stage, trajectories: Path, start: Path, out: Path) -> list[Finding]:
    """What can be known of a stage from its data set and its start, without a GPU and without loading weights."""
    options = stage.options(config)
    check_start(config.planner, options.lora, start)
    weights = _weights(start)
    model = memory.shape_of(weights)
    findings = [_context(config, weights), *_prompts(config, trajectories, start), _disk(options, model, out)]
    return [*findings, *_rollouts(stage.name, options)]


def _rollouts(name: str, options: GrpoConfig) -> list[Finding]:
    if not options.rollouts.startswith("vllm"):
        return []
    found = importlib.util.find_spec("vllm") is not None
    fix = f"install the extra gpu, or set {name}.rollouts to transformers"
    return [Finding(name="vllm", ok=found, detail="installed" if found else "not installed", fix=fix)]


def _weights(start: Path) -> Path:
    """The folder of whole weights behind a start, which may be an adapter."""
    base = adapted(start)
    return model_folder(Path(base.path) if base else start)


def _context(config: Config, weights: Path) -> Finding:
    from transformers import AutoConfig

    context = AutoConfig.from_pretrained(weights).get_text_config().max_position_embeddings
    wanted = config.planner.max_prompt_tokens + config.planner.max_new_tokens
    return Finding(
        name="context",
        ok=wanted <= context,
        detail=f"prompt {config.planner.max_prompt_tokens} + answer {config.planner.max_new_tokens} tokens, "
        f"the model reads {context}",
        fix="lower planner.max_prompt_tokens or planner.max_new_tokens",
    )


def _prompts(config: Config, trajectories: Path, start: Path) -> list[Finding]:
    length = PromptLength.load(start, PlannerSettings.of(config.planner))
    longest = cut = total = missing = 0
    where = ""
    sizes: Counter[tuple[int, int]] = Counter()
    for chunk in chunks(examples(read(trajectories, split="train"), horizon=1), CHUNK):
        states = [example.state for example in chunk]
        for example, state, tokens in zip(chunk, states, length(states), strict=True):
            total += 1
            cut += tokens > config.planner.max_prompt_tokens
            missing += config.planner.image and state.image is None
            sizes[state.width, state.height] += 1
            if tokens > longest:
                longest, where = tokens, f"{example.trajectory}, step {example.step}"
    if not total:
        return [
            Finding(name="data", ok=False, detail=f"{trajectories} has no state in 'train'", fix="ingest a data set")
        ]
    findings = [
        Finding(
            name="prompts",
            ok=cut <= MAX_CUT * total,
            detail=f"{total} prompts, the longest {longest} tokens ({where}), {cut / total:.1%} over "
            f"{config.planner.max_prompt_tokens}",
            fix=f"set planner.max_prompt_tokens to {longest}, or leave those trajectories out",
        )
    ]
    if config.planner.image:
        common = ", ".join(f"{width}x{height} ({count})" for (width, height), count in sizes.most_common(4))
        findings.append(
            Finding(
                name="images",
                ok=not missing,
                detail=f"{len(sizes)} sizes: {common}; {missing} states have none",
                fix="set planner.image to false, or leave the states without a screen out",
            )
        )
    return findings


def _disk(stage: GrpoConfig, model: memory.Shape, out: Path) -> Finding:
    trained = stage.lora.rank * model.linear if stage.lora else model.parameters
    # A checkpoint holds trained weights and Adam's two moments in 32 bit; one more is there while one is written.
    needed = trained * 4 * 3 * (stage.keep_checkpoints + 1) + trained * 4
    place = next(parent for parent in (out.resolve(), *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    return Finding(
        name="disk",
        ok=free > needed,
        detail=f"checkpoints and model need {needed / 1e9:.2f} GB, {place} has {free / 1e9:.1f} GB",
        fix=f"free {max(0.0, (needed - free) / 1e9):.1f} GB, lower keep_checkpoints, or set build to another disk",
    )


def dry_run(config: Config, stage: Stage, trajectories: Path, start: Path, out: Path, more: Sequence[str] = ()) -> str:
    """What the stage would do, as text; reads what is there, writes nothing. ``more``: how it was asked for."""
    options = stage.options(config)
    parts = [yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True).rstrip()]
    tokens = memory.tokens_per_step(config, options)
    parts.append(
        f"# tokens per step, at most: {tokens['prompts']:,} of prompts, {tokens['completions']:,} of completions "
        f"({options.groups} groups of {options.group_size})"
    )
    parts.append(f"# launched with: {shown(command(config.launch, stage.name, config.profile, more=more))}")
    if options.rollouts == "vllm_server":
        length = config.planner.max_prompt_tokens + config.planner.max_new_tokens
        weights = _weights(start) if start.exists() else start / "model"
        server = shown(vllm_server(config.launch, weights, length, "bfloat16" if options.bf16 else "float32"))
        parts.append(f"# asks the vLLM server at {config.launch.vllm_host}, started there with: {server}")
    recipe = stage.recipe(config, trajectories, start)
    parts.append(f"# configuration {digest_of({'config': recipe['config'], 'seed': config.seed})}")
    missing = [str(path) for path in (trajectories, start) if not path.exists()]
    if missing:
        parts.append(f"# not made yet: {', '.join(missing)}; memory, data and the step's digest follow from them")
        return "\n".join(parts) + "\n"
    digest = expected_digest(**recipe)
    done = finished(out)
    state = (
        "finished already" if done and done["digest"] == digest else "another digest is there" if done else "to be made"
    )
    parts.append(f"# digest {digest} ({state}: {out})")
    parts.append(_memory(config, options, start))
    for finding in check(config, stage, trajectories, start, out):
        parts.append(f"# {'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}")
        if not finding.ok:
            parts.append(f"#      -> {finding.fix}")
    return "\n".join(parts) + "\n"


def _memory(config: Config, options: GrpoConfig, start: Path) -> str:
    model = memory.shape_of(_weights(start))
    found = memory.estimate(model, config, options)
    parts = {name: value for name, value in asdict(found).items() if name != "rollouts_stay"}
    held = ", ".join(f"{name} {value:.2f}" for name, value in parts.items())
    return f"# memory a GPU, estimated: {found.total:.2f} GB ({held}); {model.parameters / 1e6:,.1f} million weights"

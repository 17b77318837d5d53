"""Before a GPU is touched: whether a stage's data fits its model, and whether its disk holds what it writes.

``require`` is what training itself runs on a machine with GPUs; `tracer train stage1 --dry-run` prints the same.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tracer.config import Config
from tracer.dataset import read
from tracer.examples import chunks, examples
from tracer.finding import Finding
from tracer.planner.length import PromptLength
from tracer.planner.lora import adapted, check_start, model_folder
from tracer.planner.plan import PlannerSettings
from tracer.planner.shape import Shape, shape_of
from tracer.settings import ConfigError
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
    weights = weights_of(start)
    model = shape_of(weights)
    findings = [_context(config, weights), *_prompts(config, trajectories, start), _disk(options, model, out)]
    return [*findings, *_rollouts(stage.name, options)]


def _rollouts(name: str, options: GrpoConfig) -> list[Finding]:
    if not options.rollouts.startswith("vllm"):
        return []
    found = importlib.util.find_spec("vllm") is not None
    fix = f"install the extra gpu, or set {name}.rollouts to transformers"
    return [Finding(name="vllm", ok=found, detail="installed" if found else "not installed", fix=fix)]


def weights_of(start: Path) -> Path:
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


def _disk(stage: GrpoConfig, model: Shape, out: Path) -> Finding:
    needed = disk_bytes(stage, model)
    place = next(parent for parent in (out.resolve(), *out.resolve().parents) if parent.exists())
    free = shutil.disk_usage(place).free
    return Finding(
        name="disk",
        ok=free > needed,
        detail=f"checkpoints and model need {needed / 1e9:.2f} GB, {place} has {free / 1e9:.1f} GB",
        fix=f"free {max(0.0, (needed - free) / 1e9):.1f} GB, lower keep_checkpoints, or set build to another disk",
    )


def disk_bytes(stage: GrpoConfig, model: Shape) -> int:
    """What a stage's checkpoints and its model take on the disk, at most."""
    trained = stage.lora.rank * model.linear if stage.lora else model.parameters
    # A checkpoint holds trained weights and Adam's two moments in 32 bit; one more is there while one is written.
    return trained * 4 * 3 * (stage.keep_checkpoints + 1) + trained * 4

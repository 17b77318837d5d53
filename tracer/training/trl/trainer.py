"""Which trainer serves a model and a stage, and how it is put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import PrinterCallback, TrainerCallback
from trl import GRPOTrainer

from tracer.config import Config
from tracer.examples import Example
from tracer.planner.escape import control_tokens
from tracer.planner.lora import is_adapter
from tracer.planner.transformers import TransformersPlanner, without_image_tokens
from tracer.settings import ConfigError
from tracer.training import processes
from tracer.training.checkpoints import Checkpoints
from tracer.training.samples import SampleLog
from tracer.training.score import Objective
from tracer.training.settings import GrpoConfig
from tracer.training.trl.arguments import arguments, dataset, lora, reported
from tracer.training.trl.live_groups import LiveGroups
from tracer.training.trl.rewards import Recorder
from tracer.training.trl.shared_prompt import SharedPromptTrainer

SHARED = ("llava", "qwen3", "qwen3_vl", "qwen2", "llama")
"""Model types that groups.py serves: their position ids are one number per token, or follow from the picture's size."""


def build(
    config: Config,
    objective: Objective,
    planner: TransformersPlanner,
    prompts: Sequence[Example],
    out: Path,
    callbacks: Sequence[TrainerCallback] = (),
    kind: type[GRPOTrainer] | None = None,
) -> GRPOTrainer:
    """The trainer of a planner on prompts, with checkpoints and samples in ``out``.

    ``kind`` replaces the class that serves planner and stage. An adapter that the planner has already is trained on;
    otherwise ``stage.lora`` says whether it gets one.
    """
    stage = objective.options
    kind = kind or trainer_class(planner.model, stage)
    samples = SampleLog(out, stage, live="mlflow" in reported(config))
    trainer = kind(
        model=planner.model,
        processing_class=planner.processor,
        reward_funcs=Recorder(objective, prompts, samples).functions(),
        args=arguments(config, stage, planner, out),
        train_dataset=dataset(prompts, planner.settings, control_tokens(planner.processor)),
        peft_config=None if is_adapter(planner.model) else lora(stage),
        callbacks=[Checkpoints(out / "checkpoints", stage.keep_checkpoints), *callbacks],
    )
    if trainer.ref_model is not None:
        without_image_tokens(trainer.accelerator.unwrap_model(trainer.ref_model))
    if isinstance(trainer, LiveGroups):
        trainer.skip_dead = stage.dead_groups == "skip"
    trainer.remove_callback(PrinterCallback)  # thirty numbers a step: Watch says which of them matter
    sampling = isinstance(trainer, SharedPromptTrainer) and not trainer.use_vllm
    if sampling:
        trainer.eos_token_ids = planner.ends(config.planner.horizon)
        trainer.by_step = stage.sampling == "step"
        trainer.states = prompts
    if planner.settings.constrain == "always":
        if not sampling:
            raise ConfigError(
                "planner.constrain 'always' is for groups that share their prompt: neither TRL's own scoring nor vLLM "
                "knows the grammar; set it to 'evaluation'"
            )
        trainer.constraint = planner.constraint
    return trainer


def trainer_class(model: Any, stage: GrpoConfig) -> type[LiveGroups]:
    """The trainer that serves a model and a stage. Raises ``ConfigError`` for a sampling it cannot serve."""
    # Sharded weights need TRL's generation, in which all processes wait for each other.
    shared = model.config.model_type in SHARED and not processes.sharded()
    if stage.sampling == "step" and not (shared and stage.rollouts == "transformers"):
        raise ConfigError(
            f"sampling 'step' is for groups that share their prompt, which rollouts {stage.rollouts!r} of a "
            f"{model.config.model_type} do not; set sampling to 'stream'"
        )
    return SharedPromptTrainer if shared else LiveGroups

"""What TRL's trainer is given: its arguments, the adapter and the prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Image
from peft import LoraConfig
from trl import GRPOConfig

from tracer.config import Config
from tracer.examples import Example
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import prompt
from tracer.planner.transformers import TransformersPlanner, image_tokens
from tracer.settings import ConfigError
from tracer.training import processes
from tracer.training.settings import GrpoConfig


def arguments(config: Config, stage: GrpoConfig, planner: TransformersPlanner, out: Path) -> GRPOConfig:
    """TRL's arguments, with every one that shapes the result written out: TRL's defaults are not the paper's."""
    return GRPOConfig(
        output_dir=str(out / "checkpoints"),
        max_completion_length=config.planner.max_new_tokens,
        generation_kwargs=left_out(stage, image_tokens(planner.model.config)),
        ddp_timeout=int(processes.PATIENCE.total_seconds()),
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide what Watch looks for
        log_completions=False,
        seed=config.seed,
        data_seed=config.seed,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        disable_tqdm=True,
        **_method(stage),
        **_vllm(config, stage),
        report_to=reported(config),
        run_name=f"{out.name} {config.profile} seed{config.seed}",
    )


def _method(stage: GrpoConfig) -> dict[str, Any]:
    return {
        "max_steps": stage.steps,
        "per_device_train_batch_size": local_batch(stage),
        "gradient_accumulation_steps": stage.accumulation,
        "steps_per_generation": stage.accumulation,  # a checkpoint within a generation batch would lose its rest
        "num_generations": stage.group_size,
        "num_iterations": 1,
        "temperature": stage.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "constant_with_warmup",
        "warmup_steps": stage.warmup,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "beta": stage.kl,
        "epsilon": stage.clip,
        "loss_type": stage.loss,
        "scale_rewards": stage.scale_rewards,
        "multi_objective_aggregation": stage.aggregation,
        "mask_truncated_completions": False,
        "disable_dropout": True,
        "shuffle_dataset": True,
        "bf16": stage.bf16,
        "gradient_checkpointing": stage.gradient_checkpointing,
        "use_transformers_continuous_batching": stage.rollouts == "continuous_batching",
        "save_steps": stage.checkpoint_every,
    }


def _vllm(config: Config, stage: GrpoConfig) -> dict[str, Any]:
    launch = config.launch
    return {
        "use_vllm": stage.rollouts.startswith("vllm"),
        "vllm_mode": stage.rollouts.removeprefix("vllm_") if stage.rollouts.startswith("vllm") else "colocate",
        "vllm_server_host": launch.vllm_host,
        "vllm_server_port": launch.vllm_port,
        "vllm_server_timeout": launch.vllm_timeout,
        "vllm_group_port": launch.vllm_group_port,
        "vllm_gpu_memory_utilization": launch.vllm_memory,
        "vllm_tensor_parallel_size": launch.vllm_tensor_parallel,
        "vllm_enable_sleep_mode": launch.vllm_sleep,
        # vLLM's probabilities are not quite the trainer's. Each token is weighted by their ratio, capped at 3; TRL's
        # default drops a whole completion once the product of its ratios exceeds 3, which long ones soon do.
        "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": 3.0,
        "vllm_max_model_length": config.planner.max_prompt_tokens + config.planner.max_new_tokens,
    }


def reported(config: Config) -> list[str]:
    """Who is told every step's metrics: MLflow only within a run that somebody began, such as tracer/registry/live.py.

    Without one, its callback would begin a run of its own in whatever place is MLflow's default.
    """
    if "mlflow" not in config.launch.report_to:
        return list(config.launch.report_to)
    import mlflow

    return [name for name in config.launch.report_to if name != "mlflow" or mlflow.active_run() is not None]


def local_batch(stage: GrpoConfig) -> int:
    """The completions of one process's micro-batch: the global batch is the same on any number of processes."""
    micro, world = stage.groups // stage.accumulation, processes.world()
    if micro % world:
        raise ConfigError(
            f"{micro} groups per micro-batch cannot be divided among {world} processes; launch as many processes as "
            f"launch.nodes and launch.gpus say, or choose groups divisible by {stage.accumulation * world}"
        )
    return micro // world * stage.group_size


def left_out(stage: GrpoConfig, tokens: Sequence[int]) -> dict[str, Any] | None:
    """The option by which vLLM does not sample these tokens; the planner's own model leaves them out by itself."""
    return {"logit_bias": dict.fromkeys(tokens, -100.0)} if tokens and stage.rollouts.startswith("vllm") else None


def lora(stage: GrpoConfig) -> LoraConfig | None:
    """The adapter to train, or None to train all weights."""
    if stage.lora is None:
        return None
    return LoraConfig(
        r=stage.lora.rank,
        lora_alpha=stage.lora.alpha,
        target_modules=stage.lora.targets,
        task_type="CAUSAL_LM",
    )


def dataset(states: Sequence[Example], settings: PlannerSettings, tokens: Sequence[str]) -> Dataset:
    """The prompts as TRL wants them: a conversation, the screenshot, and the index of the state in ``states``.

    A row is made when it is asked for, so that no more screens are in memory than a batch has.
    """
    return Dataset.from_dict({"index": range(len(states))}).with_transform(_Rows(states, settings, tokens))


@dataclass(frozen=True)
class _Rows:
    """A class and no closure: the data set takes a digest of what it is transformed with."""

    states: Sequence[Example]
    settings: PlannerSettings
    tokens: Sequence[str]

    def __call__(self, batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        # Every prompt comes once per rollout of its group, and TRL writes into what it gets.
        states = {index: self.states[index].state for index in batch["index"]}
        asked = {index: prompt(state, self.settings, self.tokens) for index, state in states.items()}
        conversations = [[{"role": "user", "content": asked[index]}] for index in batch["index"]]
        rows: dict[str, list[Any]] = {"prompt": conversations, **batch}
        if self.settings.image:
            images = [{"bytes": states[index].image, "path": None} for index in batch["index"]]
            rows["image"] = [Image().decode_example(image) for image in images]
        return rows

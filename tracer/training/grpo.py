"""What both stages share: GRPO from a planner, over states, under a reward.

stage1.py and stage2.py say what is rewarded; this module says how a reward becomes a better planner.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tracer import json_lines
from tracer.config import Config
from tracer.dataset import read
from tracer.forecast import reference
from tracer.json_files import write_json
from tracer.lineage.digest import LineageError
from tracer.planner.adapter import check_start, is_adapter, model_folder
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import prompt
from tracer.planner.transformers import TransformersPlanner, image_tokens
from tracer.reward import dead
from tracer.settings import ConfigError
from tracer.training import health, processes
from tracer.training.checkpoints import last_checkpoint, load_choice, save_choice
from tracer.training.errors import explained
from tracer.training.samples import SampleLog
from tracer.training.score import Prompt, Score, Scored
from tracer.training.settings import GrpoConfig
from tracer.training.trl import groups
from tracer.training.trl.shared_prompt import trainer_class
from tracer.training.watch import Heartbeat, Watch
from tracer.trajectory import State, state_at

log = logging.getLogger(__name__)
TIMINGS = ("runtime", "per_second", "step_time", "profiling", "epoch", "num_tokens", "total_flos")


def prompts_of(trajectories: Path, split: str, horizon: int) -> list[Prompt]:
    """Every state of a split with its reference, in the order of the shards."""
    return [
        Prompt(
            trajectory=trajectory.id,
            step=index,
            task=trajectory.task,
            state=state_at(trajectory, index),
            reference=reference(trajectory, index, horizon),
        )
        for trajectory in read(trajectories, split=split)
        for index in range(len(trajectory.steps))
    ]


def train(
    config: Config, stage: GrpoConfig, parts: Sequence[str], score: Score, trajectories: Path, start: Path, out: Path
) -> dict[str, Any]:
    """Train the planner in ``start`` into ``out``; return the headline metrics.

    ``score`` gives every completion the reward parts named in ``parts``. Raises ``TrainingStopped``.
    """
    with explained(config, stage, out):
        return _train(config, stage, parts, score, trajectories, start, out)


def _train(
    config: Config, stage: GrpoConfig, parts: Sequence[str], score: Score, trajectories: Path, start: Path, out: Path
) -> dict[str, Any]:
    from transformers import set_seed
    from transformers.integrations import unset_hf_deepspeed_config

    processes.require(config)
    heartbeat = Heartbeat(out, stage.steps)
    heartbeat.beat("loading", 0)
    check_start(config.planner, stage.lora, start)
    probes = draw(held_out_prompts(trajectories, config.planner.horizon), PROBE_STATES, config.seed)
    processes.join()
    set_seed(config.seed)
    kept = dtype_of(start)
    planner = TransformersPlanner.load(
        start,
        settings_for(config, start),
        # An adapter adds to its base as that was saved; whole weights are updated by steps that bf16 rounds away.
        dtype="auto" if stage.lora else "float32",
        trainable=True,
        device="cpu" if processes.sharded() else None,
    )
    states = select(
        config, stage, planner, score, prompts_of(trajectories, "train", config.planner.horizon), out, heartbeat
    )
    recorder = Recorder(score, states, parts, SampleLog(out, stage))
    trainer = trainer_class(planner.model, stage)(
        model=planner.model,
        processing_class=planner.processor,
        reward_funcs=recorder.functions(),
        args=arguments(config, stage, planner, out),
        train_dataset=dataset(states, planner.settings),
        peft_config=None if is_adapter(planner.model) else lora(stage),
        callbacks=[Watch(config, stage, heartbeat)],
    )
    checkpoint = last_checkpoint(out / "checkpoints") if processes.main() else None
    trainer.train(resume_from_checkpoint=processes.agree(checkpoint))
    history = [_untimed(entry) for entry in trainer.state.log_history if "reward" in entry]
    # Gathering sharded weights takes every process; everything from here on takes one.
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if processes.sharded() else None
    if not processes.main():
        return {}
    json_lines.write(out / "metrics.jsonl", history)
    signs = health.signs(history)
    write_json(out / "warnings.json", [sign.to_dict() for sign in signs])
    heartbeat.beat("saving", stage.steps)
    planner.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    if weights is None:
        if stage.lora is None:
            for weight in planner.model.parameters():  # and no buffer: a loaded model computes those anew, in 32 bit
                weight.data = weight.data.to(kept)
        score_now = probe(planner, score, probes)
        planner.save(out / "model")
    else:
        weights = {name: value.to(kept) if stage.lora is None else value for name, value in weights.items()}
        planner.save(out / "model", weights)
        # The whole model, which is loaded for the probe, needs the room of this process's shards.
        trainer.accelerator.free_memory()
        del trainer, planner
        torch.cuda.empty_cache()
        unset_hf_deepspeed_config()  # or loading would wait for the other processes
        loaded = TransformersPlanner.load(out / "model")
        same_weights(loaded.model, weights, out)
        score_now = probe(loaded, score, probes)
    tail = history[-max(1, len(history) // 10) :]
    return {
        "states": len(states),
        "reward_first": history[0]["reward"],
        "reward_last": sum(entry["reward"] for entry in tail) / len(tail),
        "dead_groups": sum(entry["dead_groups"] for entry in history) / len(history),
        "unparsable": sum(entry["unparsable"] for entry in history) / len(history),
        "warnings": len(signs),
        "probe": score_now,
    }


def same_weights(model: Any, weights: Mapping[str, torch.Tensor], out: Path) -> None:
    """Raise ``LineageError`` unless a loaded model has these weights: those that were gathered from all processes."""
    found = model.state_dict()
    if is_adapter(model):
        from peft import get_peft_model_state_dict

        found, weights = (get_peft_model_state_dict(model, state) for state in (found, dict(weights)))
    wrong = [name for name, value in weights.items() if not torch.equal(found[name].cpu(), value.cpu())]
    if wrong or not weights:
        raise LineageError(f"{out} does not hold what was trained: {len(wrong)} weights differ, {wrong[:3]}")


def dtype_of(folder: Path) -> torch.dtype:
    """The type in which a folder of whole weights was saved; what is trained from it is saved in the same."""
    from transformers import AutoConfig

    path = model_folder(folder)
    return (AutoConfig.from_pretrained(path).dtype if (path / "config.json").is_file() else None) or torch.float32


def settings_for(config: Config, start: Path) -> PlannerSettings:
    """The planner's settings; they have to be those it was trained with. Raises ``LineageError``."""
    wanted = PlannerSettings.of(config.planner)
    saved = PlannerSettings.load(model_folder(start))
    for name in ("grammar", "history", "image"):
        if getattr(saved, name) != getattr(wanted, name):
            raise LineageError(
                f"{start} was trained with {name}={getattr(saved, name)!r}, but planner.{name} is "
                f"{getattr(wanted, name)!r}; set planner.{name} to the base's, or bootstrap another base"
            )
    return wanted


def arguments(config: Config, stage: GrpoConfig, planner: TransformersPlanner, out: Path) -> Any:
    """TRL's arguments, every one that shapes the result written out: its defaults are not the paper's."""
    from trl import GRPOConfig

    launch = config.launch
    return GRPOConfig(
        output_dir=str(out / "checkpoints"),
        max_steps=stage.steps,
        per_device_train_batch_size=local_batch(stage),
        gradient_accumulation_steps=stage.accumulation,
        num_generations=stage.group_size,
        num_iterations=1,
        max_completion_length=config.planner.max_new_tokens,
        temperature=stage.temperature,
        top_p=1.0,
        top_k=0,
        learning_rate=stage.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=stage.warmup,
        weight_decay=0.0,
        max_grad_norm=1.0,
        beta=stage.kl,
        epsilon=stage.clip,
        loss_type=stage.loss,
        scale_rewards=stage.scale_rewards,
        multi_objective_aggregation=stage.aggregation,
        mask_truncated_completions=False,
        disable_dropout=True,
        shuffle_dataset=True,
        bf16=stage.bf16,
        gradient_checkpointing=stage.gradient_checkpointing,
        generation_kwargs=banned(stage, image_tokens(planner.model.config)),
        use_vllm=stage.rollouts.startswith("vllm"),
        vllm_mode=stage.rollouts.removeprefix("vllm_") if stage.rollouts.startswith("vllm") else "colocate",
        vllm_server_host=launch.vllm_host,
        vllm_server_port=launch.vllm_port,
        vllm_server_timeout=launch.vllm_timeout,
        vllm_group_port=launch.vllm_group_port,
        vllm_gpu_memory_utilization=launch.vllm_memory,
        vllm_tensor_parallel_size=launch.vllm_tensor_parallel,
        vllm_enable_sleep_mode=launch.vllm_sleep,
        # vLLM's probabilities are not quite the trainer's. Each token is weighed by their ratio, cut at 3; TRL's own
        # default leaves out the whole completion once the product of its ratios is over 3, which long ones soon are.
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=3.0,
        vllm_max_model_length=config.planner.max_prompt_tokens + config.planner.max_new_tokens,
        use_transformers_continuous_batching=stage.rollouts == "continuous_batching",
        ddp_timeout=int(processes.PATIENCE.total_seconds()),
        save_steps=stage.checkpoint_every,
        save_total_limit=stage.keep_checkpoints,
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would hide what Watch looks for
        log_completions=False,
        report_to=[],
        seed=config.seed,
        data_seed=config.seed,
        remove_unused_columns=False,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=False,
        disable_tqdm=True,
    )


def local_batch(stage: GrpoConfig) -> int:
    """The completions of one process's micro-batch: the global batch is the same on any number of processes."""
    micro, world = stage.groups // stage.accumulation, processes.world()
    if micro % world:
        raise ConfigError(
            f"{micro} groups a micro-batch cannot be dealt to {world} processes as whole groups; launch as many "
            f"processes as launch.nodes and launch.gpus say, or choose groups divisible by {stage.accumulation * world}"
        )
    return micro // world * stage.group_size


def banned(stage: GrpoConfig, tokens: Sequence[int]) -> dict[str, Any] | None:
    """The sampling options that keep tokens out, in the words of whoever samples."""
    if not tokens:
        return None
    if stage.rollouts.startswith("vllm"):
        return {"logit_bias": dict.fromkeys(tokens, -100.0)}
    return {"suppress_tokens": list(tokens)}


def lora(stage: GrpoConfig) -> Any:
    if stage.lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=stage.lora.rank,
        lora_alpha=stage.lora.alpha,
        target_modules=stage.lora.targets,
        task_type="CAUSAL_LM",
    )


def dataset(states: Sequence[Prompt], settings: PlannerSettings) -> Any:
    """The prompts as TRL wants them: a conversation, the picture, and the index of the state in ``states``."""
    from datasets import Dataset, Features, Image, Value

    role = {"role": Value("string"), "content": Value("string")}
    features = Features({"prompt": [role], "index": Value("int64")})
    rows: dict[str, list[Any]] = {
        "prompt": [[{"role": "user", "content": prompt(state.state, settings)}] for state in states],
        "index": list(range(len(states))),
    }
    if settings.image:
        features["image"] = Image()
        rows["image"] = [{"bytes": state.state.image, "path": None} for state in states]
    return Dataset.from_dict(rows, features=features)


class Recorder:
    """Reward functions for TRL, one a part, that score every completion once and count what does not parse."""

    def __init__(self, score: Score, states: Sequence[Prompt], parts: Sequence[str], samples: SampleLog):
        self.score = score
        self.states = states
        self.parts = parts
        self.samples = samples
        self._scored: list[Scored] = []

    def functions(self) -> list[Callable[..., list[float]]]:
        return [self._function(name, first=name == self.parts[0]) for name in self.parts]

    def _function(self, name: str, first: bool) -> Callable[..., list[float]]:
        def reward(
            completions: Any, completion_ids: Any, index: list[int], log_metric: Any, trainer_state: Any, **_: Any
        ) -> list[float]:
            texts = [completion[0]["content"] for completion in completions]
            if first:
                self._scored = [self.score(self.states[i], text) for i, text in zip(index, texts, strict=True)]
                log_metric("unparsable", sum(not scored.parsed for scored in self._scored) / len(texts))
                log_metric("dead_groups", health.dead_groups(index, [scored.parts for scored in self._scored]))
                log_metric("repeated", sum(map(health.repeated_lines, texts)) / len(texts))
                totals, lengths = [scored.total for scored in self._scored], [len(ids) for ids in completion_ids]
                log_metric("reward_length", health.length_correlation(index, totals, lengths))
                self.samples.add(trainer_state.global_step, [self.states[i] for i in index], texts, self._scored)
            return [scored.parts[name] for scored in self._scored]

        reward.__name__ = name
        return reward


def select(
    config: Config,
    stage: GrpoConfig,
    planner: TransformersPlanner,
    score: Score,
    states: list[Prompt],
    out: Path,
    heartbeat: Heartbeat,
) -> list[Prompt]:
    """The states to train on: those whose sampled rewards disagree, so that their groups have something to teach.

    The choice is kept in ``checkpoints``: a killed run does not sample for it again.
    """
    drawn = random.Random(config.seed)
    if stage.max_prompts is not None and stage.max_prompts < len(states):
        states = drawn.sample(states, stage.max_prompts)
    if not states:
        raise LineageError("no state to train on: the data set's split 'train' is empty")
    if len(states) < stage.groups:
        raise ConfigError(
            f"{len(states)} states cannot fill a step of {stage.groups} groups; lower groups, or raise max_prompts"
        )
    if not stage.pass_rate_samples:
        return states
    # One process decides: the others' arithmetic may differ in the last bit, and their prompts must not.
    chosen: list[int] = []
    if processes.main():
        kept = load_choice(out / "checkpoints")
        if kept is None:
            answers = rollouts(
                planner, [state.state for state in states], stage, config.planner.max_new_tokens, heartbeat
            )
            rewards = [
                [score(state, text).total for text in texts] for state, texts in zip(states, answers, strict=True)
            ]
            kept = [index for index, group in enumerate(rewards) if not dead(group)]
            save_choice(out / "checkpoints", kept)
        chosen = kept
    undecided = [states[index] for index in processes.agree(chosen)]
    log.info("%d of %d states have rollouts that disagree; training on those", len(undecided), len(states))
    return undecided if len(undecided) >= stage.groups else states


def rollouts(
    planner: TransformersPlanner, states: Sequence[State], stage: GrpoConfig, max_new_tokens: int, heartbeat: Heartbeat
) -> list[list[str]]:
    """``pass_rate_samples`` sampled answers for each state."""
    size, texts = stage.pass_rate_samples, []
    for start in range(0, len(states), planner.batch_size):
        heartbeat.beat(f"selecting: state {start} of {len(states)}", 0)
        inputs = planner.encode(states[start : start + planner.batch_size]).to(planner.model.device)
        inputs.pop("token_type_ids", None)
        tokens = groups.sample(
            planner.model,
            dict(inputs),
            size=size,
            max_new_tokens=max_new_tokens,
            temperature=stage.temperature,
            eos=[planner.tokenizer.eos_token_id],
            pad=planner.tokenizer.pad_token_id,
            banned=image_tokens(planner.model.config),
        )
        texts += planner.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return [texts[index : index + size] for index in range(0, len(texts), size)]


PROBE_STATES = 64


def held_out_prompts(trajectories: Path, horizon: int) -> list[Prompt]:
    """The states to probe on; raises ``LineageError`` where there is none."""
    found = prompts_of(trajectories, "validation", horizon)
    if not found:
        raise LineageError(f"{trajectories} has no state in the split 'validation' to probe on")
    return found


def draw(prompts: Sequence[Prompt], most: int, seed: int) -> list[Prompt]:
    """At most so many of the prompts, drawn with the seed."""
    return random.Random(seed).sample(prompts, min(most, len(prompts)))


def probe(planner: TransformersPlanner, score: Score, states: Sequence[Prompt]) -> float:
    """Mean reward of the greedy answers on the drawn held-out states: what a fresh load has to reproduce."""
    answers = planner.answer([state.state for state in states])
    return sum(score(state, text).total for state, text in zip(states, answers, strict=True)) / len(states)


def _untimed(entry: Mapping[str, Any]) -> dict[str, Any]:
    # Sorted, because a history that went through a checkpoint is.
    return {name: entry[name] for name in sorted(entry) if not any(word in name for word in TIMINGS)}

"""GRPO, from a planner in one folder to a better one in another. Every stage runs this.

A stage's own module says what is rewarded. ``train`` says how a reward becomes a better planner, from top to bottom;
selection.py chooses the states, trl/ holds the trainer, probe.py measures what has to be reproduced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import set_seed

from tracer import json_lines
from tracer.config import Config
from tracer.dataset import read
from tracer.json_files import write_json
from tracer.planner.lora import check_start
from tracer.stored import Stored
from tracer.training import health, probe, processes, replay
from tracer.training.budget import Budget
from tracer.training.checkpoints import last_checkpoint
from tracer.training.errors import explained
from tracer.training.eviction import Eviction
from tracer.training.heartbeat import Heartbeat
from tracer.training.score import Objective
from tracer.training.selection import select
from tracer.training.settings import GrpoConfig
from tracer.training.start import dtype_of, load_start
from tracer.training.trl.named_weights import unwrapped_names
from tracer.training.trl.trainer import build
from tracer.training.watch import Watch

TIMINGS = ("runtime", "per_second", "step_time", "profiling", "epoch", "num_tokens", "total_flos")


def train(config: Config, objective: Objective, trajectories: Path, start: Path, out: Path) -> dict[str, Any]:
    """Train the planner in ``start`` into ``out``; return the headline metrics. Raises ``TrainingStopped``."""
    stage, score = objective.options, objective.score
    with explained(config, objective.name, out):
        processes.require(config)
        heartbeat = Heartbeat(out, stage.steps)
        heartbeat.beat("loading", 0)
        check_start(config.planner, stage.lora, start)
        horizon = config.planner.horizon
        probes = probe.sample(probe.held_out(trajectories, horizon), probe.STATES, config.seed)
        processes.join()
        set_seed(config.seed)
        planner = load_start(config, stage, start)
        states = Stored(trajectories, "train", horizon, replay.chosen(config, read(trajectories, split="train")))
        prompts = select(objective, planner, states, config.seed, out, heartbeat)
        watch = Watch(objective.name, stage, heartbeat)
        budget = Budget(objective.name, config.budget, stage.steps, out)
        eviction = Eviction()
        trainer = build(config, objective, planner, prompts, out, [watch, budget, eviction])
        checkpoint = last_checkpoint(out / "checkpoints") if processes.main() else None
        with eviction.watched():
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
        kept = dtype_of(start) if stage.lora is None else None  # an adapter is saved in the type it was trained in
        planner.model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
        if weights is None:
            for weight in planner.model.parameters() if kept else ():  # and no buffer: loading computes those again
                weight.data = weight.data.to(kept)
            probed = probe.probe(planner, score, probes)  # before anything is saved: the gate compares a fresh load
            planner.save(out / "model")
        else:
            weights = {name: value.to(kept or value.dtype) for name, value in weights.items()}
            with unwrapped_names():
                planner.save(out / "model", weights)
            # The whole model, which is loaded for the probe, needs the memory of this process's shards.
            trainer.accelerator.free_memory()
            del trainer, planner
            probed = probe.probe(probe.reload(weights, out), score, probes)
        ended = {"ended": budget.ended} if budget.ended else {}
        counted = {"states": len(prompts), **objective.counts(prompts)}
        return {**counted, **headline(history, stage), "warnings": len(signs), "probe": probed, **ended}


def headline(history: Sequence[Mapping[str, Any]], stage: GrpoConfig) -> dict[str, float]:
    """A run's history in five numbers; the last reward is the mean of the last tenth of the steps."""
    tail = history[-max(1, len(history) // 10) :]
    return {
        "reward_first": history[0]["reward"],
        "reward_last": sum(entry["reward"] for entry in tail) / len(tail),
        "dead_groups": sum(entry["dead_groups"] for entry in history) / len(history),
        "unparsable": sum(entry["unparsable"] for entry in history) / len(history),
        "tokens": health.sampled(history, stage),
    }


def _untimed(entry: Mapping[str, Any]) -> dict[str, Any]:
    # Sorted, because a history that went through a checkpoint is.
    return {name: entry[name] for name in sorted(entry) if not any(word in name for word in TIMINGS)}

"""Micro planners for tests: real classes with a few thousand weights, taught the two clicks of tests/episodes.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.episodes import sample, write_raw
from tracer.config import Config
from tracer.dataset import write_shards
from tracer.forecast import reference
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import answer, prompt
from tracer.planner.settings import PlannerConfig
from tracer.planner.tiny import END, TEMPLATE, build_model, build_processor
from tracer.planner.transformers import TransformersPlanner
from tracer.sources import jsonl
from tracer.trajectory import State, Trajectory, state_at


def trajectories(folder: Path) -> Path:
    """The sample episodes as shards."""
    found = [item for item in jsonl.read(write_raw(folder / "raw", sample())) if isinstance(item, Trajectory)]
    write_shards(found, folder / "trajectories")
    return folder / "trajectories"


def micro_config(base: Path, *, image: bool, **sections: dict[str, Any]) -> Config:
    """A configuration of two steps on two groups of two, over a base in a folder."""
    stage = {"steps": 2, "groups": 2, "group_size": 4, "pass_rate_samples": 0, "checkpoint_every": 2, "log_samples": 2}
    return Config.model_validate(
        {
            "profile": "micro",
            "build": str(base.parent / "build"),
            "planner": {"base": str(base), "image": image, "horizon": 2, "max_new_tokens": 16},
            "stage1": {**stage, **sections.pop("stage1", {})},
            "stage2": {**stage, **sections.pop("stage2", {})},
            **sections,
        }
    )


def examples(shards: Path, settings: PlannerSettings) -> list[tuple[State, str]]:
    """States and the answers they call for."""
    from tracer.dataset import read

    return [
        (state, answer(reference(trajectory, index, settings.horizon), state, settings))
        for trajectory in read(shards)
        for index in range(len(trajectory.steps))
        for state in [state_at(trajectory, index)]
    ]


def write_base(folder: Path, shards: Path, *, image: bool, steps: int, heads: int = 4) -> Path:
    """A base planner: the tiny LLaVA, or (without the image) a Llama of SmolLM2's class; ``steps`` of teaching."""
    torch.manual_seed(0)
    settings = PlannerSettings.of(PlannerConfig(image=image, horizon=2, max_new_tokens=16))
    pairs = examples(shards, settings)
    processor = build_processor((prompt(state, settings) + said for state, said in pairs), 340)
    if image:
        planner = TransformersPlanner(build_model(processor, 64, 2), processor, settings, name="base")
    else:
        processor.tokenizer.chat_template = TEMPLATE
        planner = TransformersPlanner(_llama(processor.tokenizer, heads), processor.tokenizer, settings, name="base")
    teach(planner, pairs, steps)
    planner.save(folder / "model")
    return folder


def _llama(tokenizer: Any, heads: int) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=heads,
            num_key_value_heads=heads // 2,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def teach(planner: TransformersPlanner, pairs: list[tuple[State, str]], steps: int) -> None:
    """Supervised steps on one pair each, in place."""
    optimizer = torch.optim.AdamW(planner.model.parameters(), lr=5e-3)
    for step in range(steps):
        state, said = pairs[step % len(pairs)]
        inputs = planner.encode([state])
        tokens = planner.tokenizer([said + END], return_tensors="pt", add_special_tokens=False)["input_ids"]
        length = inputs["input_ids"].shape[1]
        inputs["input_ids"] = torch.cat([inputs["input_ids"], tokens], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        inputs.pop("token_type_ids", None)
        if "mm_token_type_ids" in inputs:  # Qwen3-VL's: which tokens are an image's; the answer's are not
            kinds = inputs["mm_token_type_ids"]
            inputs["mm_token_type_ids"] = torch.cat([kinds, torch.zeros_like(tokens)], dim=1)
        logits = planner.model(**inputs).logits[0, length - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits, tokens[0])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    planner.model.eval()

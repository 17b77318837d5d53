"""The edge to TRL and transformers: what is overridden there, or relied on, is still what it was written against.

A failure after an upgrade is no fault by itself. It names the file of ours to read beside the new source; once that is
right again, put the new digest here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import Trainer
from trl import GRPOTrainer
from trl.generation.vllm_generation import VLLMGeneration

from tracer.lineage.code import canonical
from tracer.lineage.digest import digest_of
from tracer.training.trl.named_weights import NamedWeights
from tracer.training.trl.resumable import ResumableTrainer
from tracer.training.trl.shared_prompt import SharedPromptTrainer
from tracer.training.trl.timed import timed
from tracer.training.trl.vllm import Generation

ROOT = Path(__file__).parents[2]
EDGE = "tracer/training/trl"
GRPO = "trl.trainer.grpo_trainer:GRPOTrainer"
CLIENT = "trl.generation.vllm_client:VLLMClient"
VLLM = "trl.generation.vllm_generation:VLLMGeneration"
TRAINER = "transformers.trainer:Trainer"

# The digest of each, and what to read when it changes: the file of ours, and what it takes for granted.
UPSTREAM = {
    f"{GRPO}._tokenize_prompts": (
        "732874a39693",
        "trl/shared_prompt.py overrides it: ids, images and fields of repeated prompts",
    ),
    f"{GRPO}._generate_single_turn": (
        "2b10e41ea087",
        "trl/shared_prompt.py overrides it: completions end with their first EOS",
    ),
    f"{GRPO}._get_per_token_logps_and_entropies": (
        "a3a8ab895085",
        "trl/shared_prompt.py overrides it: logits over temperature",
    ),
    f"{GRPO}._generate": (
        "f1863e1c3efd",
        "trl/shared_prompt.py: groups lie together; trl/timed.py clocks it and counts its tokens",
    ),
    f"{GRPO}._generate_and_score_completions": (
        "c114b761df6c",
        "trl/shared_prompt.py overrides it: padded prompts, a row a completion; tracer/reward.py: advantages",
    ),
    f"{GRPO}._prepare_inputs": (
        "a6feba151bec",
        "trl/arguments.py: a generation batch is one step; trl/shared_prompt.py: shuffled",
    ),
    f"{GRPO}._compute_loss": (
        "2ab46d7edbec",
        "examples/minimal.py: the loss; trl/shared_prompt.py overrides it: padding scores 0",
    ),
    f"{GRPO}._calculate_rewards": (
        "6a0f156ceda0",
        "trl/rewards.py: what a reward function is given; trl/timed.py clocks it",
    ),
    f"{GRPO}._get_train_sampler": ("defdddd14c56", "trl/resumable.py overrides it"),
    "trl.trainer.utils:RepeatSampler": (
        "e63f25e6918a",
        "trl/resumable.py: StepSampler sets its generator to an epoch's state",
    ),
    f"{VLLM}._init_vllm": ("57ea2a2c6b7e", "trl/vllm.py overrides it: the engine's options, and the variables it sets"),
    f"{VLLM}._iter_named_params": ("b2d70f22dec3", "trl/vllm.py overrides it"),
    f"{VLLM}._fix_param_name_to_vllm": ("542c55d76bc5", "trl/vllm.py calls it"),
    f"{VLLM}.sync_weights": ("cadfa881aaa3", "trl/vllm.py overrides it; trl/timed.py clocks it"),
    f"{VLLM}.generate": ("caefdcaac143", "trl/vllm.py: how LLM.generate and VLLMClient.generate are called"),
    f"{CLIENT}.generate": ("b138dfdc1a1d", "trl/vllm.py calls it for one prompt at a time"),
    f"{CLIENT}._generate_from_features": ("a1491eb3637a", "trl/vllm.py: the seed is one of the sampling parameters"),
    f"{GRPO}._save_checkpoint": ("7cbbb34d9d81", "trl/named_weights.py overrides it"),
    "peft.tuners.tuners_utils:_get_tuner_state_dict_key_prefixes": ("12e5dbc9b70f", "trl/named_weights.py replaces it"),
    f"{TRAINER}._load_from_checkpoint": ("69723d97e1b1", "trl/named_weights.py overrides it"),
    f"{TRAINER}._save_checkpoint": ("253c80d2a2c5", "training/checkpoints.py: what is written, and under which name"),
    f"{TRAINER}._maybe_log_save_evaluate": (
        "cdd58868d393",
        "training/checkpoints.py: on_save follows it; training/watch.py: on_log comes before it",
    ),
    "transformers.cache_utils:DynamicLayer.update": ("1cbe63a6e6ab", "planner/cache.py overrides it"),
    "transformers.masking_utils:_preprocess_mask_arguments": (
        "3cdc60ae734e",
        "trl/groups.py: a 4D mask is used as it is",
    ),
}


def found(name: str) -> Any:
    module, _, path = name.partition(":")
    value: Any = importlib.import_module(module)
    for part in path.split("."):
        value = getattr(value, part)
    return inspect.unwrap(value)


def test_digests_are_made_as_they_were() -> None:
    digest = digest_of(canonical(ast.parse('f(1, 2.5, f"{x}y", None, b"z")'), docstrings=False))[:12]
    assert digest == "b1418d6a5f0a", "tracer.lineage.code.canonical has changed, not TRL: set all digests anew"


@pytest.mark.parametrize("name", UPSTREAM)
def test_what_we_rely_on_is_unchanged(name: str) -> None:
    expected, advice = UPSTREAM[name]
    source = textwrap.dedent(inspect.getsource(found(name)))
    digest = digest_of(canonical(ast.parse(source), docstrings=False))[:12]
    assert digest == expected, f"{name} has changed; read {advice}. Then set its digest in {__file__} to {digest!r}"


def overrides() -> Iterator[tuple[str, Callable[..., Any], Callable[..., Any]]]:
    """Name, ours, theirs of every method of ours that replaces one of theirs."""
    for ours in (NamedWeights, ResumableTrainer, SharedPromptTrainer, timed(GRPOTrainer), Generation):
        kinds = {VLLMGeneration: VLLM} if ours is Generation else {GRPOTrainer: GRPO, Trainer: TRAINER}
        for name, method in vars(ours).items():
            theirs = next((kind for kind in kinds if name in vars(kind)), None)
            if theirs is not None and inspect.isfunction(method) and name != "__init__":
                yield f"{kinds[theirs]}.{name}", method, vars(theirs)[name]


def test_every_override_takes_what_the_original_takes() -> None:
    names = [name for name, *_ in overrides()]
    assert len(names) == 13 and set(names) <= set(UPSTREAM)
    for name, ours, theirs in overrides():
        taken = inspect.signature(ours).parameters
        rest = {each.kind for each in taken.values()} & {
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        }
        missing = [each for each in list(inspect.signature(theirs).parameters)[1:] if each not in taken]
        assert rest or not missing, f"{name} now takes {missing}, which ours does not: {UPSTREAM[name][1]}"


def test_privates_are_touched_at_the_edge_alone() -> None:
    theirs = {name for kind in (GRPOTrainer, Trainer, VLLMGeneration) for name in dir(kind)}
    private = {name for name in theirs if name.startswith("_") and not name.startswith("__")}
    for path in sorted((ROOT / "tracer").rglob("*.py")):
        if path.relative_to(ROOT).as_posix().startswith(EDGE):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node in tree.body}
        methods = {
            method.name
            for kind in ast.walk(tree)
            if isinstance(kind, ast.ClassDef) and any("Trainer" in ast.unparse(base) for base in kind.bases)
            for method in kind.body
            if isinstance(method, ast.FunctionDef)
        }
        touched = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "self")
        }
        wrong = private & (touched | methods) - own
        assert not wrong, f"{path} touches {sorted(wrong)} of TRL's or transformers' trainer: that belongs into {EDGE}"

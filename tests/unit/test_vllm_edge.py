"""The edge to vLLM, with stand-ins for its engine and server; tests/vllm has the real ones."""

from __future__ import annotations

import os
from contextlib import nullcontext
from copy import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM
from trl.generation import vllm_generation
from trl.generation.vllm_generation import VLLMGeneration

from tracer.training.trl.vllm import LAUNCHED, Generation, one_per_run


def generation(dtype: torch.dtype, kind: type[VLLMGeneration] = Generation) -> Any:
    """TRL's or ours, without the vLLM behind it."""
    torch.manual_seed(0)
    small = LlamaConfig(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, vocab_size=50)
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(small).to(dtype), lora)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.01)
    made = kind.__new__(kind)
    made.model = model
    made._dist = SimpleNamespace(gather_params=lambda _: nullcontext(), is_fsdp=False)
    return made


def test_the_weights_are_trls_and_have_its_names() -> None:
    theirs = {name: weight.clone() for name, weight in generation(torch.float32, VLLMGeneration)._iter_named_params()}
    made = generation(torch.float32)
    ours = dict(made._iter_named_params())
    assert list(ours) == list(theirs)
    assert all(torch.allclose(ours[name], weight, atol=1e-6) for name, weight in theirs.items())
    base = dict(LlamaForCausalLM(made.model.config).named_parameters())
    assert set(ours) <= set(base)


def test_the_base_does_not_drift() -> None:
    def base(made: Any) -> dict[str, torch.Tensor]:
        return {name: weight.clone() for name, weight in made.model.named_parameters() if "lora_" not in name}

    def drifts(made: Any) -> bool:
        before = base(made)
        for _ in made._iter_named_params():
            pass
        return any(not weight.equal(before[name]) for name, weight in base(made).items())

    assert drifts(generation(torch.bfloat16, VLLMGeneration))
    assert not drifts(generation(torch.bfloat16))


class Parameters:
    """Sampling parameters, as much as is set here."""

    seed: int | None = None

    def clone(self) -> Parameters:
        return copy(self)


class Engine:
    """An engine that notes how it was made, and what it is asked."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.launched = {name: os.environ.get(name) for name in LAUNCHED}
        self.forgotten = 0
        executor = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=SimpleNamespace(model=self)))
        self.llm_engine = SimpleNamespace(model_executor=executor, reset_encoder_cache=self.forget)
        self.asked: list[tuple[list[int], int]] = []

    def load_weights(self, weights: Any) -> None:
        pass

    def reset_prefix_cache(self) -> None:
        pass

    def forget(self) -> None:
        self.forgotten += 1

    def generate(self, prompts: Any, sampling_params: Any, use_tqdm: bool) -> list[Any]:
        asked = zip(prompts, sampling_params, strict=True)
        self.asked = [(prompt["prompt_token_ids"], params.seed) for prompt, params in asked]
        token = SimpleNamespace(logprob=-1.0, rank=1)
        output = SimpleNamespace(token_ids=[5], logprobs=[{5: token}])
        return [SimpleNamespace(prompt_token_ids=ids, outputs=[output]) for ids, _ in self.asked]


def colocated(monkeypatch: pytest.MonkeyPatch, process: int = 0) -> Any:
    """Our generation over such an engine, in one of two processes."""
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(vllm_generation, "is_vllm_available", lambda: True)
    monkeypatch.setattr(vllm_generation, "LLM", Engine, raising=False)
    monkeypatch.setattr(vllm_generation, "SamplingParams", lambda **_: Parameters(), raising=False)
    accelerator = SimpleNamespace(
        num_processes=2,
        process_index=process,
        local_process_index=process,
        mixed_precision="no",
        is_main_process=process == 0,
        wait_for_everyone=lambda: None,
        state=SimpleNamespace(deepspeed_plugin=None, fsdp_plugin=None),
    )
    model = LlamaForCausalLM(
        LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, vocab_size=8)
    )
    made: Any = Generation(model, accelerator, SimpleNamespace(image_token_id=7), mode="colocate")  # type: ignore[arg-type]
    made.seed, made.step = 3, lambda: 11
    return made


def test_an_engine_computes_as_the_trainer_and_leaves_no_launcher_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    made = colocated(monkeypatch, process=1)
    assert made.llm.options["dtype"] == "float32"
    launched = made.llm.launched
    assert (launched["RANK"], launched["LOCAL_RANK"], launched["WORLD_SIZE"]) == ("1", "1", "2")
    assert not set(LAUNCHED) & set(os.environ)
    monkeypatch.setenv("RANK", "4")  # a real launcher's stays
    made._init_vllm()
    assert os.environ["RANK"] == "4" and "WORLD_SIZE" not in os.environ


def test_each_prompt_has_a_seed_of_its_own_and_a_picture_one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    made, other = colocated(monkeypatch), colocated(monkeypatch, process=1)
    prompts, pictures = [[1, 7, 7, 7, 2], [1, 7, 7, 2]], [["picture"], ["picture"]]
    for each in (made, other):
        each.generate(prompts, pictures, num_generations=2)
    assert [ids for ids, _ in made.llm.asked] == [[1, 7, 2], [1, 7, 2]]
    assert prompts == [[1, 7, 7, 7, 2], [1, 7, 7, 2]]  # the trainer's own stay expanded
    seeds = [seed for _, seed in made.llm.asked + other.llm.asked]
    assert len(set(seeds)) == 4 and all(0 <= seed < 2**56 for seed in seeds)
    made.generate(prompts, pictures, num_generations=2)
    assert [seed for _, seed in made.llm.asked] == seeds[:2]
    made.step = lambda: 12
    made.generate(prompts, pictures, num_generations=2)
    assert not {seed for _, seed in made.llm.asked} & set(seeds)


def test_new_weights_make_an_engine_forget_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    made = colocated(monkeypatch)
    made.sync_weights()
    assert made.llm.forgotten == 1


def test_a_server_is_asked_one_prompt_at_a_time_and_forgets_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    posted: list[str] = []

    class Client:
        base_url = "http://127.0.0.1:1"

        def __init__(self, **_: Any) -> None:
            answer = SimpleNamespace(raise_for_status=lambda: None)
            self.session = SimpleNamespace(post=lambda url: posted.append(url) or answer)

        def init_communicator(self, device: Any) -> None:
            pass

        def update_named_params(self, metadata: Any, weights: Any) -> None:
            pass

        def reset_prefix_cache(self) -> None:
            pass

        def image_features(self, images: Any) -> list[Any]:
            return [{"mm_placeholders": {"image": [{}]}} for _ in images]

        def generate(self, prompts: Any, features: Any, generation_kwargs: Any, n: int, **_: Any) -> dict[str, Any]:
            asked.append({"prompts": prompts, "features": features, **generation_kwargs})
            fields = ("completion_ids", "logprobs", "logprob_token_ids")
            return {"prompt_ids": prompts, **{field: [prompts[0]] * n for field in fields}}

    monkeypatch.setattr(vllm_generation, "VLLMClient", Client)
    monkeypatch.setattr(vllm_generation, "broadcast_object_list", lambda *_, **__: None)
    monkeypatch.setattr(vllm_generation, "gather_object", lambda value: value)
    made = colocated(monkeypatch)
    made.accelerator.device = torch.device("cpu")
    made.mode = "server"
    made.generation_kwargs = {"logit_bias": {7: -100.0}}
    made._init_vllm()
    prompts = [[1, 7, 7, 2]] * 2 + [[3, 7, 4]] * 2
    _, completions, _, _ = made.generate(prompts, [["picture"]] * 4, num_generations=2)
    assert completions == prompts
    assert sorted(each["prompts"] for each in asked) == [[[1, 7, 7, 2]], [[3, 7, 4]]]
    assert len({each["seed"] for each in asked}) == 2 and all(each["logit_bias"] for each in asked)
    assert all(len(each["features"]) == 1 for each in asked)
    made.sync_weights()
    assert posted == ["http://127.0.0.1:1/reset_encoder_cache"]


def test_a_run_of_tokens_becomes_one() -> None:
    assert one_per_run([1, 7, 7, 7, 2, 7, 3], 7) == [1, 7, 2, 7, 3]
    assert one_per_run([1, 1, 2], 7) == [1, 1, 2]

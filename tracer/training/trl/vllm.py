"""vLLM behind TRL's trainer: what it is sent, how it samples, and what it leaves behind in the process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Any

import torch
from trl.generation import vllm_generation
from trl.generation.vllm_generation import VLLMGeneration
from trl.trainer import grpo_trainer

from tracer.planner.lora import NAME as ADAPTER
from tracer.planner.lora import is_adapter
from tracer.threads import side_by_side
from tracer.training.trl.replaced import replaced

LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
REQUESTS = 64
"""How many prompts a server is asked at the same time."""


class Generation(VLLMGeneration):
    """TRL's edge to vLLM, where the same seed samples the same and the engine computes what the trainer computes.

    ``seed`` and ``step`` give every prompt's sampling a seed of its own.
    """

    seed = 0
    step: Callable[[], int] = staticmethod(lambda: 0)

    def _init_vllm(self) -> None:
        # TRL sets a launcher's variables for the engine, and leaves them: the next stage in this process would take
        # itself for one of several (no issue found). And vLLM's own choice for weights in 32 bit is to round them.
        before = {name: os.environ.get(name) for name in LAUNCHED}
        try:
            if self.mode == "colocate":
                bf16 = self.accelerator.mixed_precision == "bf16"
                dtype = "bfloat16" if bf16 else str(self.model.dtype).removeprefix("torch.")
                with replaced(vllm_generation, "LLM", partial(vllm_generation.LLM, dtype=dtype)):
                    super()._init_vllm()
                self.llm.generate = partial(self._sample, self.llm.generate)
            else:
                super()._init_vllm()
                if self.accelerator.is_main_process:
                    client: Any = self.vllm_client
                    client.generate = partial(self._request, client.generate)
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    def _sample(
        self, generate: Callable[..., Any], prompts: Sequence[Any], sampling_params: Any, **options: Any
    ) -> Any:
        """``LLM.generate`` with a seed for each prompt; TRL's engine has one that no setting reaches (trl#7040)."""
        first = self.accelerator.process_index // self.tensor_parallel_size * len(prompts)
        every = [sampling_params.clone() for _ in prompts]
        for index, params in enumerate(every, start=first):
            params.seed = self._seed(index)
        # vLLM puts a picture's tokens in place of one: those that are there already would be expanded again (trl#6294).
        for shown in (prompt for prompt in prompts if "multi_modal_data" in prompt):
            image = self.processing_class.image_token_id
            shown["prompt_token_ids"] = one_per_run(shown["prompt_token_ids"], image)
        return generate(prompts, sampling_params=every, **options)

    def _request(
        self,
        generate: Callable[..., dict[str, list[Any]]],
        prompts: Sequence[Any],
        features: Sequence[Any] | None = None,
        generation_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> dict[str, list[Any]]:
        """``VLLMClient.generate`` with a seed for each prompt, of which vLLM makes one for each of its completions."""

        def ask(index: int) -> dict[str, list[Any]]:
            own = {**(generation_kwargs or {}), "seed": self._seed(index)}
            shown = None if features is None else [features[index]]
            return generate(prompts=[prompts[index]], features=shown, generation_kwargs=own, **options)

        answers = side_by_side(REQUESTS, ask, range(len(prompts)))
        return {key: [row for answer in answers for row in answer[key]] for key in answers[0]}

    def _seed(self, index: int) -> int:
        digest = hashlib.sha256(f"{self.seed}/{self.step()}/{index}".encode()).digest()
        return int.from_bytes(digest[:7])  # not 8: vLLM counts up from it, and takes 64 bits with a sign

    def sync_weights(self) -> None:
        """Send the weights, and forget what was computed with the old ones."""
        super().sync_weights()
        # vLLM knows an embedding by its picture alone, and would take that of the old vision tower (trl#7198).
        if self.mode == "colocate":
            self.llm.llm_engine.reset_encoder_cache()
        elif self.accelerator.is_main_process:
            client = self.vllm_client
            client.session.post(f"{client.base_url}/reset_encoder_cache").raise_for_status()

    def _iter_named_params(self) -> Iterator[tuple[str, torch.Tensor]]:
        # TRL merges the adapter into the base at every step and takes it out again. In bf16 the difference does not
        # cancel: the base drifts (trl#6688, measured there; here by half of what the adapter learns in 300 steps), and
        # the adapter is trained on weights that nobody saved.
        if is_adapter(self.model) and not self._dist.is_fsdp:
            yield from self._merged()
        else:
            yield from super()._iter_named_params()

    def _merged(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every weight under the name vLLM expects, one at a time; gathered first, where ZeRO-3 has them sharded."""
        model = self.model
        with self._dist.gather_params(list(model.parameters())):
            for name, weight in model.named_parameters():
                if model.prefix in name or "original_module" in name:  # the adapter itself, and what it replaced
                    continue
                layer, found, _ = name.rpartition(".base_layer.weight")
                value = weight.data
                if found:
                    update = model.get_submodule(layer).get_delta_weight(ADAPTER)
                    value = (value.float() + update.float()).to(value.dtype)
                plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
                yield self._fix_param_name_to_vllm(plain, extra_prefixes=["modules_to_save.default."]), value


@contextmanager
def ours() -> Iterator[None]:
    """Let a trainer of TRL that is made meanwhile have a ``Generation``: its class is no argument of TRL's."""
    with replaced(grpo_trainer, "VLLMGeneration", Generation):
        yield


def one_per_run(tokens: Sequence[int], token: int) -> list[int]:
    """The tokens with every run of one of them as a single one: 1 7 7 7 2 as 1 7 2."""
    return [each for kind, run in groupby(tokens) for each in ([kind] if kind == token else run)]

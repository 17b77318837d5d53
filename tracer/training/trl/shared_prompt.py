"""``trl.GRPOTrainer`` with each prompt encoded once per group instead of once per completion.

The algorithm is TRL's. Its sampler repeats every prompt ``num_generations`` times, by design (trl#2910), so that its
processor, its generation and its update work on copies. The three methods that do so are replaced here: the processor
runs on the distinct prompts, and sampling and scoring go through groups.py. vLLM shares prefixes itself, so that its
rollouts are TRL's; their scoring and the update are those of here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from tracer.examples import Example
from tracer.planner.constraint import Constraint
from tracer.training.trl import groups
from tracer.training.trl.live_groups import LiveGroups


class SharedPromptTrainer(LiveGroups):
    """GRPO over groups that share one copy of their prompt."""

    num_generations: int
    max_completion_length: int
    by_step = False
    """Whether random numbers follow from the seed and the step (GrpoConfig.sampling), in any number of processes."""
    constraint: Constraint | None = None
    """What completions are kept within; their probabilities are those of the model over what it allows."""
    states: Sequence[Example] = ()
    """The prompts of the data set, whose states the constraint asks for."""
    _rows: Sequence[int] = ()
    """The data set's prompt behind each completion of the batch at hand."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        self._rows = [row["index"] for row in inputs]
        output = super()._generate_and_score_completions(inputs)
        return {**output, "state": torch.tensor(self._rows)}  # shuffled with the rest before the update

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        self._rows = inputs["state"].tolist()
        return super()._compute_loss(model, inputs)

    def _allowed(self, members: torch.Tensor, tokens: torch.Tensor, vocabulary: int) -> torch.Tensor:
        assert self.constraint is not None
        states = [self.states[self._rows[index]].state for index in members.tolist()]
        return self.constraint.allowed(states, tokens, vocabulary, self.eos_token_ids)

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], list[Any] | None, dict[str, Any]]:
        if self.use_vllm:
            return super()._tokenize_prompts(prompts)
        size = self.num_generations
        ids, images, fields = super()._tokenize_prompts(prompts[::size])
        images = None if images is None else [image for image in images for _ in range(size)]
        return [prompt for prompt in ids for _ in range(size)], images, fields  # fields of the distinct prompts alone

    def _generate_single_turn(
        self, prompt_ids: Any, images: Any, multimodal_fields: Any, num_generations: int, has_tool_images: bool = False
    ) -> tuple[list[list[int]], Any]:
        if self.use_vllm:
            return super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
        tokenizer, device = self._tokenizer, self.accelerator.device
        encoded = tokenizer.pad({"input_ids": prompt_ids[::num_generations]}, padding_side="left", return_tensors="pt")
        inputs = {name: encoded[name].to(device) for name in ("input_ids", "attention_mask")}
        pixels = multimodal_fields.get("pixel_values")  # a tensor, or one array per prompt
        if pixels is not None:
            inputs["pixel_values"] = torch.stack(list(map(torch.as_tensor, pixels))).to(device)
        if groups.GRID in multimodal_fields:
            inputs[groups.GRID] = torch.as_tensor(multimodal_fields[groups.GRID]).to(device)
        model = self.accelerator.unwrap_model(self.model)
        training = model.training
        model.eval()
        answers = None
        if self.constraint is not None:
            answers = self.constraint.answers([self.states[row].state for row in self._rows], self.eos_token_ids)
        completions = groups.sample(
            model,
            inputs,
            size=num_generations,
            max_new_tokens=self.max_completion_length,
            temperature=self.temperature,
            eos=list(self.eos_token_ids),
            pad=tokenizer.pad_token_id,
            noise=self._noise() if self.by_step else None,
            answers=answers,
        )
        model.train(training)
        return [_until_end(row, set(self.eos_token_ids)) for row in completions.tolist()], None

    def _noise(self) -> Callable[[torch.Size], torch.Tensor]:
        device, world, rank = self.accelerator.device, self.accelerator.num_processes, self.accelerator.process_index
        generator = torch.Generator(device).manual_seed(self.args.seed * 1_000_003 + self.state.global_step)

        def draw(shape: torch.Size) -> torch.Tensor:
            # Every process draws for all of them and takes its own part: the processes' rows follow one another.
            whole = torch.empty(world * shape[0], shape[1], device=device).exponential_(generator=generator)
            return whole[rank * shape[0] : (rank + 1) * shape[0]]

        return draw

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        pixel_values: torch.Tensor | None = None,
        image_grid_thw: torch.Tensor | None = None,
        **unused: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        lengths = [input_ids.shape[1] - logits_to_keep, logits_to_keep]
        ids, completions = input_ids.split(lengths, dim=1)
        mask, completion_mask = attention_mask.split(lengths, dim=1)
        inputs = {"input_ids": ids, "attention_mask": mask}
        if pixel_values is not None:
            inputs["pixel_values"] = pixel_values
        if image_grid_thw is not None:
            inputs[groups.GRID] = image_grid_thw
        rows, group = groups.unique_prompts(inputs)
        inputs = groups.taken(inputs, rows)
        allowed = None if self.constraint is None else self._allowed
        with self.accelerator.autocast():
            logprobs, entropy = groups.score(
                model, inputs, completions, completion_mask, group, self.temperature, allowed
            )
        return logprobs, entropy if compute_entropy else None, None


def _until_end(tokens: list[int], ends: set[int]) -> list[int]:
    for index, token in enumerate(tokens):
        if token in ends:
            return tokens[: index + 1]
    return tokens

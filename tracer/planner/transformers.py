"""A planner that runs a Hugging Face model in this process."""

from __future__ import annotations

import io
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList
from transformers.utils.logging import disable_progress_bar

from tracer.grammars.grammar import grammar
from tracer.grammars.reading import Constrain
from tracer.json_files import DamagedFile
from tracer.planner.cache import cache
from tracer.planner.constraint import Constrained, Constraint
from tracer.planner.files import share, weight_files
from tracer.planner.lora import CONFIG as ADAPTER
from tracer.planner.lora import is_adapter, load_adapter, load_processor, model_folder, save_adapter
from tracer.planner.plan import SETTINGS, Plan, PlannerSettings, mean_probability
from tracer.planner.prompt import chat
from tracer.trajectory import State

# All commands load and write models here. The bars are for what takes a second; the warning says that the model's
# tokens are now the tokenizer's, as they should be.
disable_progress_bar()
logging.getLogger("transformers.trainer_utils").setLevel(logging.ERROR)
IMAGE_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
NO_CHANCE = -1e4
"""A logit whose probability is 0 in every precision; minus infinity would make the entropy undefined."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model wrote, without the token that ends it."""

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """The log-probability of each token, at temperature 1."""
    ended: bool = False
    """Whether it ends by itself, and not at the limit."""

    @property
    def confidence(self) -> float:
        """The geometric mean of the tokens' probabilities."""
        return mean_probability(self.logprobs) if self.logprobs else 0.0


class TransformersPlanner:
    """A vision-language model (or a language model, for settings without the image) with its processor."""

    def __init__(self, model: Any, processor: Any, settings: PlannerSettings, name: str, batch_size: int = 32):
        self.model = without_image_tokens(model)
        self.processor = processor
        self.settings = settings
        self.name = name
        self.batch_size = batch_size
        self._grammar = grammar(settings.grammar, settings.parse)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        settings: PlannerSettings | None = None,
        dtype: str = "auto",
        trainable: bool = False,
        device: str | None = None,
        constrain: Constrain | None = None,
    ) -> TransformersPlanner:
        """Load weights and processor from a model folder, or from the ``model`` folder of a step's output.

        ``trainable`` lets an adapter's weights be trained on; ``device`` is the GPU unless there is none; ``constrain``
        replaces that setting.
        Raises ``ConfigError`` where the folder contains no model, naming it, and ``DamagedFile`` for one that is cut
        off.
        """
        path = model_folder(Path(folder))
        settings = settings or PlannerSettings.load(path)
        settings = settings if constrain is None else replace(settings, constrain=constrain)
        # To answer, a model may lie on several GPUs; accelerate says where it is to be trained.
        spread = not trainable and device is None and torch.cuda.device_count() > 1
        model = load_model(path, settings.image, dtype, trainable, spread)
        if not spread:
            model = model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        return cls(model.eval(), load_processor(path, settings.image), settings, name=str(folder))

    @cached_property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return getattr(self.processor, "tokenizer", self.processor)

    def ends(self, horizon: int) -> list[int]:
        """The tokens that end an answer of ``horizon`` steps: after a single line nothing more has to be written."""
        known = self.model.generation_config.eos_token_id
        ends = [self.tokenizer.eos_token_id, *(known if isinstance(known, list) else [known])]
        ends = [token for token in dict.fromkeys(ends) if token is not None]
        if horizon == 1 and self.settings.grammar == "pointing":  # other grammars allow words before the line
            ends += self.tokenizer("\n", add_special_tokens=False)["input_ids"]
        return ends

    @cached_property
    def constraint(self) -> Constraint:
        """What keeps answers within the grammar, where the settings say so."""
        return Constraint(self.tokenizer, self._grammar, self.settings.horizon)

    def encode(self, states: Sequence[State]) -> Any:
        """The model's inputs for a batch of states, padded on the left: input_ids (B, L), pixel_values, ..."""
        texts = [chat(self.processor, state, self.settings) for state in states]
        return self.encode_texts(texts, [picture(state) for state in states] if self.settings.image else [])

    def encode_texts(self, texts: Sequence[str], images: Sequence[Image.Image]) -> Any:
        """The same for prompts in the chat template, with the picture of each unless the planner sees none."""
        given: dict[str, Any] = {"text": list(texts), "padding": True, "padding_side": "left"}
        if not self.settings.image:
            return self.tokenizer(**given, return_tensors="pt", add_special_tokens=False)
        return self.processor(**given, images=list(images), return_tensors="pt", add_special_tokens=False)

    def answer(self, states: Sequence[State]) -> list[str]:
        """The greedy answers, as text."""
        return [answer.text for answer in self._answer(states, self.settings.horizon, attempt=0)]

    def _answer(self, states: Sequence[State], horizon: int, attempt: int) -> list[Answer]:
        """Each state's answer, greedy or (for an attempt above 0) sampled."""
        answers = [Answer(text="")] * len(states)
        # Prompts of like length go together: padding costs as much as tokens.
        order = sorted(range(len(states)), key=lambda index: len(states[index].elements or ()))
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            shown = [states[index] for index in chunk]
            noise = None
            if attempt:
                noise = Gumbel([f"{attempt}/{chat(self.processor, state, self.settings)}" for state in shown])
            written = self.generate(self.encode(shown), self.settings.max_new_tokens, shown, noise, self.ends(horizon))
            for index, answer in zip(chunk, written, strict=True):
                answers[index] = answer
        return answers

    @torch.inference_mode()
    def generate(
        self,
        inputs: Any,
        max_new_tokens: int,
        states: Sequence[State | None],
        noise: Gumbel | None = None,
        ends: Sequence[int] = (),
    ) -> list[Answer]:
        """The answers to encoded prompts: greedy ones, or with ``noise`` sampled ones.

        Where the settings hold answers to the grammar, it is that of each one's state, and None is held to none.
        ``ends``: the tokens that end an answer; by default the model's own.
        """
        inputs = inputs.to(self.model.device)
        inputs.pop("token_type_ids", None)
        ends = list(ends) or self.ends(self.settings.horizon + 1)
        constrained = self.settings.constrain != "off" and any(state is not None for state in states)
        taken = Taken()
        processors = [Constrained(self.constraint.answers(states, ends))] if constrained else []
        processors += [taken, *([noise] if noise else [])]
        output = self.model.generate(
            **inputs,
            past_key_values=cache(self.model),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=ends,
            logits_processor=LogitsProcessorList(processors),
        )[:, inputs["input_ids"].shape[1] :]
        logprobs = taken.logprobs(output)
        stops = torch.tensor([self.tokenizer.pad_token_id, *ends], device=output.device)
        lengths = (~torch.isin(output, stops)).sum(dim=1).tolist()
        texts = self.tokenizer.batch_decode(output, skip_special_tokens=True)
        return [
            Answer(
                text=text,
                tokens=tuple(row[:length].tolist()),
                logprobs=tuple(scores[:length].tolist()),
                ended=length < output.shape[1],
            )
            for text, row, scores, length in zip(texts, output, logprobs, lengths, strict=True)
        ]

    def forecast(self, states: Sequence[State], horizon: int, attempt: int = 0) -> list[Plan]:
        """One plan per state: from the greedy answers, or from sampled ones for an attempt above 0."""
        answers = self._answer(states, horizon, attempt)
        return [self.read(answer, state, horizon) for answer, state in zip(answers, states, strict=True)]

    def read(self, answer: Answer, state: State, horizon: int) -> Plan:
        """The plan that an answer contains, or why it contains none."""
        reading = self._grammar.read(answer.text, state, horizon)
        return Plan(
            text=answer.text,
            prompt=chat(self.processor, state, self.settings),
            forecast=reading.forecast,
            error=reading.error,
            tokens=len(answer.tokens),
            confidence=answer.confidence,
        )

    def save(self, folder: Path, state: dict[str, Any] | None = None) -> None:
        """Write the weights (of an adapter, those alone), the processor and the settings.

        ``state`` replaces the model's own weights, where those are sharded over processes.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if is_adapter(self.model):
            save_adapter(self.model, folder, state)
        else:
            self.model.save_pretrained(folder, **({} if state is None else {"state_dict": state}))
        self.processor.save_pretrained(folder)
        self.settings.save(folder)
        share(folder, folder / SETTINGS)


class Gumbel(LogitsProcessor):
    """Makes the greedy choice a sample: argmax(logits + temperature * Gumbel noise) follows the softmax at it.

    Each row draws from a stream of its own, so that its sample does not depend on what else is in the batch.
    """

    def __init__(self, seeds: Sequence[str], temperatures: Sequence[float] = ()) -> None:
        """``temperatures``: one a row, by default 1; 0 leaves the greedy choice."""
        self.streams = [torch.Generator().manual_seed(random.Random(seed).getrandbits(63)) for seed in seeds]
        self.temperatures = temperatures or [1.0] * len(seeds)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) with noise."""
        noise = [
            temperature * torch.empty(scores.shape[-1]).exponential_(generator=stream).log()
            if temperature
            else torch.zeros(scores.shape[-1])
            for stream, temperature in zip(self.streams, self.temperatures, strict=True)
        ]
        return scores - torch.stack(noise).to(scores)


class Taken(LogitsProcessor):
    """Notes how probable each token was that a generation took. The logits stay as they are."""

    def __init__(self) -> None:
        self._last: torch.Tensor | None = None
        self._noted: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The logits (rows, vocabulary)."""
        self._note(input_ids[:, -1])
        self._last = scores.float().log_softmax(dim=-1)
        return scores

    def logprobs(self, output: torch.Tensor) -> torch.Tensor:
        """The log-probabilities of the tokens (rows, tokens) that were written."""
        self._note(output[:, -1])
        return torch.stack(self._noted, dim=1)

    def _note(self, tokens: torch.Tensor) -> None:
        if self._last is not None:  # else it is the prompt's last token
            self._noted.append(self._last.gather(1, tokens[:, None])[:, 0])


def picture(state: State) -> Image.Image:
    """The screenshot as an RGB image; raises ``ValueError`` for a state without one."""
    if state.image is None:
        raise ValueError(f"the planner reads the screenshot, and the state of goal {state.goal[:60]!r} has none")
    return Image.open(io.BytesIO(state.image)).convert("RGB")


def load_model(path: Path, image: bool, dtype: str = "auto", trainable: bool = False, spread: bool = False) -> Any:
    """Weights, never run from remote code and never unpickled; ``spread`` lays them over all GPUs."""
    kind = AutoModelForImageTextToText if image else AutoModelForCausalLM
    weight_files(path)

    def whole(source: str, revision: str | None = None) -> Any:
        options: dict[str, Any] = {"revision": revision} if revision else {}
        options |= {"device_map": "auto"} if spread else {}
        return kind.from_pretrained(source, dtype=dtype, use_safetensors=True, **options)

    if (path / ADAPTER).is_file():
        return load_adapter(path, whole, trainable)
    try:
        return whole(str(path))
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFile(path, f"its model does not load: {error}") from error


def image_tokens(config: Any) -> list[int]:
    """The tokens that stand for an image: sampled, they break the next forward pass, so they never are."""
    found = (getattr(config, name, None) for name in IMAGE_TOKENS)
    return sorted({token for token in found if token is not None})


def without_image_tokens(model: Any) -> Any:
    """The model, which from now on gives no chance to the tokens that stand for an image.

    Its head does so itself, because what is trained has to be the distribution that is sampled from. Left out of the
    sampling alone, these tokens put the two apart by their share: up to 0.014 in a log-probability of vLLM's rollouts.
    """

    def leave_out(head: Any, given: Any, logits: torch.Tensor) -> torch.Tensor:
        logits[..., tokens] = NO_CHANCE
        return logits

    if tokens := image_tokens(model.config):
        model.get_output_embeddings().register_forward_hook(leave_out)
    return model

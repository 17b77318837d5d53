"""A planner that runs a Hugging Face model in this process."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, LogitsProcessor, LogitsProcessorList

from tracer.grammars.grammar import grammar
from tracer.grammars.reading import Constrain
from tracer.json_files import DamagedFile
from tracer.planner.constraint import Constrained, Constraint
from tracer.planner.files import share, weight_files
from tracer.planner.lora import CONFIG as ADAPTER
from tracer.planner.lora import is_adapter, load_adapter, load_processor, model_folder, save_adapter
from tracer.planner.plan import SETTINGS, Plan, PlannerSettings
from tracer.planner.prompt import chat
from tracer.trajectory import State

IMAGE_TOKENS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


class TransformersPlanner:
    """A vision-language model (or a language model, for settings without the image) with its processor."""

    def __init__(self, model: Any, processor: Any, settings: PlannerSettings, name: str, batch_size: int = 32):
        self.model = model
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
        if not self.settings.image:
            return self.tokenizer(
                texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
            )
        images = [picture(state) for state in states]
        return self.processor(
            text=texts, images=images, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False
        )

    def answer(self, states: Sequence[State]) -> list[str]:
        """The greedy answers, as text."""
        return [text for text, _ in self._answer(states, self.settings.horizon, attempt=0)]

    @torch.inference_mode()
    def _answer(self, states: Sequence[State], horizon: int, attempt: int) -> list[tuple[str, int]]:
        """Each state's answer, greedy or (for an attempt above 0) sampled, and its tokens without the end token."""
        answers: list[tuple[str, int]] = [("", 0)] * len(states)
        # Prompts of like length go together: padding costs as much as tokens.
        order = sorted(range(len(states)), key=lambda index: len(states[index].elements or ()))
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            shown = [states[index] for index in chunk]
            inputs = self.encode(shown).to(self.model.device)
            inputs.pop("token_type_ids", None)
            chosen: list[LogitsProcessor] = []
            if self.settings.constrain != "off":
                chosen.append(Constrained(self.constraint.answers(shown, self.ends(horizon))))
            if attempt:
                chosen.append(Gumbel([f"{attempt}/{chat(self.processor, state, self.settings)}" for state in shown]))
            output = self.model.generate(
                **inputs,
                max_new_tokens=self.settings.max_new_tokens,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
                eos_token_id=self.ends(horizon),
                suppress_tokens=image_tokens(self.model.config),
                logits_processor=LogitsProcessorList(chosen),
            )[:, inputs["input_ids"].shape[1] :]
            ends = torch.tensor([self.tokenizer.pad_token_id, *self.ends(horizon)], device=output.device)
            lengths = (~torch.isin(output, ends)).sum(dim=1).tolist()
            texts = self.tokenizer.batch_decode(output, skip_special_tokens=True)
            for index, text, length in zip(chunk, texts, lengths, strict=True):
                answers[index] = text, length
        return answers

    def forecast(self, states: Sequence[State], horizon: int, attempt: int = 0) -> list[Plan]:
        """One plan per state: from the greedy answers, or from sampled ones for an attempt above 0."""
        answers = self._answer(states, horizon, attempt)
        return [self.read(text, state, horizon, tokens) for (text, tokens), state in zip(answers, states, strict=True)]

    def read(self, text: str, state: State, horizon: int, tokens: int = 0) -> Plan:
        """The plan that an answer contains, or why it contains none."""
        reading = self._grammar.read(text, state, horizon)
        shown = chat(self.processor, state, self.settings)
        return Plan(text=text, prompt=shown, forecast=reading.forecast, error=reading.error, tokens=tokens)

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
    """Makes the greedy choice a sample at temperature 1: argmax(logits + Gumbel noise) follows the softmax.

    Each row draws from a stream of its own, so that its sample does not depend on what else is in the batch.
    """

    def __init__(self, seeds: Sequence[str]) -> None:
        self.streams = [torch.Generator().manual_seed(random.Random(seed).getrandbits(63)) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary) with noise."""
        noise = [torch.empty(scores.shape[-1]).exponential_(generator=stream) for stream in self.streams]
        return scores - torch.stack(noise).log().to(scores)


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
    except (
        ValueError,
        OSError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:  # a senseless configuration
        raise DamagedFile(path, f"its model does not load: {error}") from error


def image_tokens(config: Any) -> list[int]:
    """The tokens that stand for an image: sampled, they break the next forward pass, so they never are."""
    found = (getattr(config, name, None) for name in IMAGE_TOKENS)
    return sorted({token for token in found if token is not None})

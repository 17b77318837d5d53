"""How long prompts are, in a planner's own tokens, without running the planner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from tracer.planner.lora import load_processor, model_folder
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import chat
from tracer.trajectory import State

SIDES = ("width", "height")


class PromptLength:
    """Counts prompts' tokens with a planner's processor.

    The tokens of a picture depend on its size alone, so that they are counted once a size, on a blank picture; what is
    counted is then exactly what the processor would give for the state.
    """

    def __init__(self, processor: Any, settings: PlannerSettings) -> None:
        self._processor = processor
        self._settings = settings
        self._tokenizer = getattr(processor, "tokenizer", processor)
        self._image_tokens = lru_cache(maxsize=4096)(self._count_image_tokens)

    @classmethod
    def load(cls, base: Path, settings: PlannerSettings) -> PromptLength:
        """With the processor of a model folder, or of the ``model`` folder of a step's output."""
        return cls(load_processor(model_folder(base), settings.image), settings)

    @property
    def sees(self) -> tuple[int, int] | None:
        """The one size, in pixels, to which all pictures are shrunk; None where larger pictures stay larger."""
        size = getattr(getattr(self._processor, "image_processor", None), "size", None)
        width, height = (size.get(name) if isinstance(size, Mapping) else getattr(size, name, None) for name in SIDES)
        return (int(width), int(height)) if width and height else None

    def __call__(self, states: Sequence[State]) -> list[int]:
        """One count a state; a state without a picture counts its text alone."""
        texts = [chat(self._processor, state, self._settings) for state in states]
        lengths = [len(ids) for ids in self._tokenizer(texts, add_special_tokens=False)["input_ids"]]
        if not self._settings.image:
            return lengths
        sizes = [(state.width, state.height) if state.image is not None else (0, 0) for state in states]
        return [length + self._image_tokens(size) for length, size in zip(lengths, sizes, strict=True)]

    def _count_image_tokens(self, size: tuple[int, int]) -> int:
        """The tokens that a picture of ``size`` adds to the one placeholder in the text."""
        from PIL import Image

        if min(size) < 1:
            return 0
        text = chat(self._processor, State(goal=""), self._settings)
        blank = Image.new("RGB", size)
        whole = self._processor(text=[text], images=[blank], add_special_tokens=False)["input_ids"][0]
        return len(whole) - len(self._tokenizer([text], add_special_tokens=False)["input_ids"][0])

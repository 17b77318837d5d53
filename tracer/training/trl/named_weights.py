"""Resuming from a checkpoint whose weights have other names than the model's parameters.

``save_pretrained`` writes a vision-language model's weights under their published names. The Trainer loads them by
parameter name and skips what does not match, which is all of them, with no more than a warning (transformers#43701,
open). Of an adapter with a frozen copy, which TRL makes for the KL term, it loads the copy alone: adapters in folders
of their own come first (since transformers#30505). Either way training would restart from the stage's first weights.
"""

from __future__ import annotations

from typing import Any

from tracer.lineage.digest import LineageError
from tracer.planner.lora import NAME as ADAPTER
from tracer.planner.lora import is_adapter


class NamedWeights:
    """A mix-in for ``transformers.Trainer``: resuming loads a checkpoint's weights, whatever they are called in it."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        trainer: Any = self
        model = model if model is not None else trainer.model
        if trainer.is_fsdp_enabled or not (is_adapter(model) or hasattr(type(model), "from_pretrained")):
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        elif is_adapter(model):
            from peft import load_peft_weights, set_peft_model_state_dict

            weights = load_peft_weights(resume_from_checkpoint, device="cpu")
            missed = set_peft_model_state_dict(model, weights, adapter_name=ADAPTER)
            if missed.unexpected_keys:
                raise LineageError(f"{resume_from_checkpoint} holds another adapter: {missed.unexpected_keys[:3]}")
        else:
            saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype, use_safetensors=True)
            model.load_state_dict(saved.state_dict())

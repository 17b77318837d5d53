"""Resuming from a checkpoint whose weights have other names than the model's parameters.

``save_pretrained`` writes a vision-language model's weights under their published names. The Trainer loads them by
parameter name and skips what does not match, which is all of them, with no more than a warning (transformers#43701,
open). Of an adapter with a frozen copy, which TRL makes for the KL term, it loads the copy alone: adapters in folders
of their own come first (since transformers#30505). Either way training would restart from the stage's first weights.

PEFT looks for an adapter's weights under the names of its modules. Where FSDP checkpoints activations, a wrapper makes
those longer than the weights' own: PEFT finds none, and saves and loads an empty adapter (no issue found).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners import tuners_utils
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import _CHECKPOINT_PREFIX as WRAPPER

from tracer.lineage.digest import LineageError
from tracer.planner.lora import NAME as ADAPTER
from tracer.planner.lora import is_adapter
from tracer.training.trl.replaced import replaced


class NamedWeights:
    """A mix-in for ``transformers.Trainer``: resuming loads a checkpoint's weights, whatever they are called in it."""

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        trainer: Any = self
        model = model if model is not None else trainer.model
        if trainer.is_fsdp_enabled or not (is_adapter(model) or hasattr(type(model), "from_pretrained")):
            with unwrapped_names():
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

    def _save_checkpoint(self, *arguments: Any) -> None:
        with unwrapped_names():
            super()._save_checkpoint(*arguments)  # type: ignore[misc]


@contextmanager
def unwrapped_names() -> Iterator[None]:
    """Let PEFT find the weights of an adapter in wrapped layers."""
    plain = tuners_utils._get_tuner_state_dict_key_prefixes

    def prefixes(*arguments: Any, **options: Any) -> set[str]:
        return {name.replace(WRAPPER, "") for name in plain(*arguments, **options)}

    with replaced(tuners_utils, plain.__name__, prefixes):
        yield

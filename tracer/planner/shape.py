"""What of a model its memory and its speed follow from: it is built on torch's meta device, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of a model."""

    parameters: int
    hidden: int
    layers: int
    vocabulary: int
    cache: int
    """Numbers that one token keeps in the key-value cache."""
    linear: int
    """Numbers of input and output that an adapter of rank 1 on every linear layer has."""


def shape_of(folder: Path) -> Shape:
    """The shape of the model in a folder, from its config.json."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    config = AutoConfig.from_pretrained(folder)
    pictured = hasattr(config, "vision_config")
    with torch.device("meta"):
        model = (AutoModelForImageTextToText if pictured else AutoModelForCausalLM).from_config(config)
    return shape(model)


def shape(model: Any) -> Shape:
    """The shape of a model, on whatever device."""
    import torch

    text = model.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    linear = [part for part in model.modules() if isinstance(part, torch.nn.Linear)]
    output = model.get_output_embeddings()
    return Shape(
        parameters=sum(weight.numel() for weight in model.parameters()),
        hidden=text.hidden_size,
        layers=text.num_hidden_layers,
        vocabulary=text.vocab_size,
        cache=2 * text.num_hidden_layers * heads * width,
        linear=sum(part.in_features + part.out_features for part in linear if part is not output),
    )

"""Qwen3-VL with random weights, of any size: the real classes, processor and chat format, without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.planners import examples, teach
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import prompt
from tracer.planner.tiny import END, build_processor
from tracer.planner.transformers import TransformersPlanner

VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMALL = {
    "text": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "vision": {"hidden_size": 64, "intermediate_size": 128, "depth": 2, "num_heads": 4},
    "key_heads": 2,
    "head": 16,
    "deepstack": [0, 1],
}
# The published sizes of Qwen3-VL-8B, but for its vocabulary's tokens.
EIGHT_BILLION = {
    "text": {"hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36, "num_attention_heads": 32},
    "vision": {"hidden_size": 1152, "intermediate_size": 4304, "depth": 27, "num_heads": 16},
    "key_heads": 8,
    "head": 128,
    "deepstack": [8, 16, 24],
}


def processor(texts: list[str]) -> Any:
    """Qwen3-VL's processor over a tokenizer of a few hundred tokens; needs torchvision."""
    from transformers import Qwen3VLProcessor, Qwen3VLVideoProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

    tokenizer = build_processor(texts, 340).tokenizer
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *VISION]})
    sizes = {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    return Qwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**sizes),
        video_processor=Qwen3VLVideoProcessor(**sizes),
        tokenizer=tokenizer,
        chat_template=TEMPLATE,
    )


def model(tokenizer: Any, size: dict[str, Any], vocabulary: int | None = None) -> Any:
    """A model of that size with random weights, on torch's default device and in its default type."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    def token(name: str) -> int:
        return int(tokenizer.convert_tokens_to_ids(name))

    config = Qwen3VLConfig(
        text_config={
            **size["text"],
            "vocab_size": vocabulary or len(tokenizer),
            "num_key_value_heads": size["key_heads"],
            "head_dim": size["head"],
            "max_position_embeddings": 32768,
            "rope_scaling": {
                "rope_type": "default",
                "mrope_section": _sections(size["head"]),
                "mrope_interleaved": True,
            },
            "eos_token_id": token(END),
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={
            **size["vision"],
            "out_hidden_size": size["text"]["hidden_size"],
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": size["deepstack"],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )
    built = Qwen3VLForConditionalGeneration(config)
    built.generation_config.eos_token_id = token(END)
    built.generation_config.pad_token_id = tokenizer.pad_token_id
    return built


def _sections(head: int) -> list[int]:
    """How the rotary frequencies are dealt to time, height and width: 24, 20, 20 of 64, and so in proportion."""
    half = head // 2
    side = half * 20 // 64
    return [half - 2 * side, side, side]


def write_base(folder: Path, shards: Path, settings: PlannerSettings, steps: int, size: dict[str, Any] = SMALL) -> Path:
    """The small one as a base planner, after ``steps`` of teaching."""
    torch.manual_seed(0)
    pairs = examples(shards, settings)
    made = processor([prompt(state, settings) + said for state, said in pairs])
    planner = TransformersPlanner(model(made.tokenizer, size), made, settings, name="base")
    teach(planner, pairs, steps)
    planner.save(folder / "model")
    return folder

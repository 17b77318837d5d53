"""The stages of training, an asset each."""

import re
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import pictures, steps
from pipelines.steps import Lineage
from tracer import json_lines
from tracer.config import Config
from tracer.flow import FlowStep, of
from tracer.registry import live
from tracer.training.heartbeat import read_heartbeat

# A process that died or stalled continues from its last checkpoint, so trying again costs little.
RETRY = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)


def figures(out: Path) -> dict[str, float]:
    """Of the last step what MLflow shows live: loss, entropy, the reward's parts, and tokens a second."""
    last = json_lines.read(out / "metrics.jsonl")[-1]
    last |= (read_heartbeat(out) or {}).get("metrics", {})
    wanted = re.compile(r"loss|entropy|kl|tokens_per_second|rewards/\w+/mean")
    return {f"metric/{name}": value for name, value in last.items() if wanted.fullmatch(name) and value is not None}


def shown(context: dg.AssetExecutionContext, config: Config, step: FlowStep, done: Lineage) -> dict[str, Any]:
    """What is shown of a stage."""
    out = step.out(config)
    page = live.page(config, done["digest"]) if "mlflow" in config.launch.report_to else None
    watched = {"live": dg.MetadataValue.url(page)} if page else {}
    return {"reward": pictures.curves(out), "rollouts": pictures.rollouts(out), **figures(out), **watched}


assets = [steps.asset(step, shown, kinds={"pytorch", "python"}, retry_policy=RETRY) for step in of("train")]

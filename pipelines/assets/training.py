"""The two stages of training."""

from pathlib import Path
from typing import Any

import dagster as dg

from pipelines import pictures, steps
from pipelines.assets.data import base_planner, trajectories
from pipelines.resources import GPU_TAGS, Tracer, Trainer
from tracer.config import Config
from tracer.flow import BEFORE, STAGES, model, train

OWNERS = ["team:training"]
# A process that died or stalled goes on from its last checkpoint, so trying again costs little.
RETRY = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)
ABOUT = {
    "stage1": "Stage 1, trajectory RL: forecasts rewarded by how well they match what was really done.",
    "stage2": "Stage 2, grounded RL: the forecast's first step, carried out by the frozen tool agent.",
}


def inputs(config: Config, stage: str) -> dict[str, Path]:
    """The stage's inputs under the names its lineage gives them."""
    return {"trajectories": config.out("ingest"), BEFORE[stage]: model(config, BEFORE[stage])}


def stage_asset(stage: str, parent: Any) -> dg.AssetsDefinition:
    module = f"tracer.training.{stage}"

    @dg.asset(
        name=stage,
        deps=[trajectories, parent],
        description=ABOUT[stage],
        group_name="training",
        kinds={"pytorch", "python"},
        owners=OWNERS,
        tags={"domain": "training", "cost": "gpu"},
        code_version=steps.code_version(module),
        retry_policy=RETRY,
        pool="gpu",
        op_tags=GPU_TAGS,
    )
    def trained(context: dg.AssetExecutionContext, tracer: Tracer, trainer: Trainer) -> dg.MaterializeResult[Any]:
        config = tracer.config()
        out = config.out(stage)
        with steps.interruptible(context):
            done = steps.run(
                config, stage, module, inputs(config, stage),
                lambda: trainer.train(context, tracer, stage, lambda: train(config, stage, out)),
            )  # fmt: skip
        return steps.made(config, out, done, reward=pictures.curves(out), rollouts=pictures.rollouts(out))

    return trained


stage1 = stage_asset(STAGES[0], base_planner)
stage2 = stage_asset(STAGES[1], stage1)

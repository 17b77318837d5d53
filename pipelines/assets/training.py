"""The stages of training, an asset each."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipelines import pictures, steps
from pipelines.resources import Tracer, Trainer
from tracer.flow import FlowStep, of

# A process that died or stalled continues from its last checkpoint, so trying again costs little.
RETRY = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)


def stage_asset(step: FlowStep) -> dg.AssetsDefinition:
    """The asset of a stage."""

    @dg.asset(**steps.declared(step, kinds={"pytorch", "python"}, retry_policy=RETRY))
    def trained(context: dg.AssetExecutionContext, tracer: Tracer, trainer: Trainer) -> dg.MaterializeResult[Any]:
        config = tracer.config()
        out, since = step.out(config), datetime.now(UTC)
        with steps.interruptible(context):
            # What is finished is found here, without the seconds that a process and torch take to start.
            done = step.current(config) or trainer.train(context, tracer, step)
        return steps.made(config, out, done, since, reward=pictures.curves(out), rollouts=pictures.rollouts(out))

    return trained


assets = [stage_asset(step) for step in of("train")]

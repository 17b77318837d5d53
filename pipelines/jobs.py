"""Jobs: the whole chain, and the decision on data that arrived."""

from typing import Any

import dagster as dg

from pipelines.assets.data import raw_episodes
from pipelines.pictures import markdown, png
from pipelines.resources import Tracer
from tracer import alerts
from tracer.batches import arrival, inbox, logged, store
from tracer.batches.verdict import PICTURE
from tracer.flow import unregistered
from tracer.lineage.pins import pinned_md5

DAY = 24 * 3600
SEEDS = 10
FLOW_GROUPS = ("data", "training", "evaluation", "registry")  # published sources and benchmarks are on demand

# One process runs the steps one after the other: on one machine they share its cores or its GPU, and a process per step
# would import everything again each time. Training is out of process anyway. On a cluster: a profile with more workers.
retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.groups(*FLOW_GROUPS),
    description="Raw episodes to champion. Finished steps are found by their digest; killed ones go on.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(2 * DAY)},
)


@dg.static_partitioned_config(partition_keys=[str(seed) for seed in range(SEEDS)])
def of_seed(key: str) -> dict[str, Any]:
    """The configuration of a run on one seed."""
    return {"resources": {"tracer": {"config": {"seed": int(key)}}}}


# What a result is worth shows on several seeds; what is finished of one is found.
seeds = dg.define_asset_job(
    "seeds",
    selection=dg.AssetSelection.groups(*FLOW_GROUPS),
    description="Raw episodes to decision on one seed; a backfill runs several.",
    config=of_seed,
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(2 * DAY)},
)


class Arrival(dg.Config):
    """What arrived."""

    path: str


@dg.op(pool="dvc", retry_policy=dg.RetryPolicy(max_retries=2, delay=30))
def judge(context: dg.OpExecutionContext, config: Arrival, tracer: Tracer) -> None:
    """``tracer data add``: the batch is committed, and retraining follows the pin; or it is refused, and alerted."""
    settings, path = tracer.config(), config.path
    arrival.finish(settings)
    if not inbox.waits(path):  # decided on, and the process killed before it could say so
        context.log.info(f"{path} is not there any more: it was decided on; `tracer data list` lists the batches")
        return
    verdict = arrival.add(settings, path)
    context.log.info(str(verdict))
    folder = arrival.work_of(settings, verdict.batch)
    picture = folder / PICTURE
    run_id = "" if unregistered(settings) else logged.log(settings, verdict, folder)
    context.log_event(
        dg.AssetObservation(
            asset_key=raw_episodes.key,
            tags={"dagster/data_version": pinned_md5(store.pointer_of(settings))} if verdict.accepted else {},
            metadata={
                "batch": verdict.batch,
                "accepted": verdict.accepted,
                "mlflow_run": run_id,
                "report": dg.MetadataValue.md(f"```\n{verdict}\n```"),
                "drift": markdown([png(picture.read_bytes(), "drift")] if picture.is_file() else []),
                **{f"drift/{shift.name}": shift.distance for shift in verdict.shifts},
            },
        )
    )
    if verdict.drifted:
        alerts.send("drift", str(verdict))
    elif not verdict.accepted:
        alerts.send("batch refused", str(verdict))


@dg.job(description="Judge data that arrived: commit it as a batch, or refuse it.", executor_def=dg.in_process_executor)
def add_batch() -> None:
    """Judge data that arrived."""
    judge()

"""Jobs: the whole chain, and pinning new raw episodes."""

from pathlib import Path

import dagster as dg

from pipelines.resources import Dvc, Tracer
from tracer.lineage.pins import dvc_md5, pinned_md5

DAY = 24 * 3600
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


@dg.op(pool="dvc", retry_policy=dg.RetryPolicy(max_retries=2, delay=30))
def pin(context: dg.OpExecutionContext, dvc: Dvc, tracer: Tracer) -> None:
    """``dvc add`` the folder that the data's pointer names: the sensor on the pointer then starts retraining."""
    pointer = Path(tracer.config().data.pointer)
    before = pinned_md5(pointer)
    dvc.run("add", str(pointer.with_suffix("")))
    context.log.info(f"{pointer}: {before} -> {pinned_md5(pointer)}, folder {dvc_md5(pointer.with_suffix(''))}")


@dg.job(description="Pin raw episodes that arrived, with `dvc add`.", executor_def=dg.in_process_executor)
def pin_data() -> None:
    """Pin new raw episodes with DVC."""
    pin()

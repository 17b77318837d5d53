"""Raw episodes and the base planner, which come from outside, and the trajectories made of the episodes."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipelines import pictures, steps
from pipelines.resources import Tracer
from tracer.config import Config
from tracer.flow import RAW, folder, step
from tracer.lineage.digest import content_digest
from tracer.registry import start
from tracer.registry.step_runs import data_digest

INGEST = step("ingest")
RETRY = dg.RetryPolicy(max_retries=1, delay=1)


def raw_version(config: Config) -> str:
    """The md5 that DVC pins for the raw episodes, or their digest where nothing pins them."""
    return data_digest(config) or content_digest(folder(config, RAW))


@dg.observable_source_asset(
    group_name="data",
    description="Raw episodes: pictures and actions as recorded, pinned by a DVC pointer. Its version is their md5.",
    tags={"domain": "data", "kind": "dvc"},
    automation_condition=dg.AutomationCondition.on_cron("*/30 * * * *"),
)
def raw_episodes(tracer: Tracer) -> dg.DataVersion:
    """The md5 of the raw episodes."""
    return dg.DataVersion(raw_version(tracer.config()))


@dg.observable_source_asset(
    group_name="data",
    description="What RL starts from: a pretrained vision-language model, or the champion.",
    tags={"domain": "data", "kind": "safetensors"},
)
def base_planner(tracer: Tracer) -> dg.DataVersion:
    """The digest of the base planner, or the registered version that training starts from."""
    return dg.DataVersion(start.identity(tracer.config()))


@dg.asset(
    **steps.declared(
        INGEST,
        kinds={"parquet"},
        automation_condition=dg.AutomationCondition.eager(),
        freshness_policy=steps.FRESH_DATA,
        retry_policy=RETRY,
        pool="dvc",
    )
)
def trajectories(context: dg.AssetExecutionContext, tracer: Tracer) -> dg.MaterializeResult[Any]:
    """Canonical Parquet shards, one row per step, and the quarantine with what could not be read."""
    config = tracer.config()
    hold_to_observation(context, config)
    out = INGEST.out(config)
    since = datetime.now(UTC)
    with steps.interruptible(context):
        done = INGEST.run(config)
    return steps.made(config, out, done, since, dvc_md5=raw_version(config), screens=pictures.screens(out))


def hold_to_observation(context: dg.AssetExecutionContext, config: Config) -> None:
    """Fail if the raw data is no longer what was last observed; the retry then runs on the new observation.

    A run records the version that was observed before it began (dagster#14723), which must be what it reads.
    """
    now, instance = raw_version(config), context.instance
    seen = observed(instance, raw_episodes.key)
    if seen == now:
        return
    observe(instance, raw_episodes.key, now)
    if seen is not None:
        raise dg.Failure(
            f"raw_episodes was observed as {seen} and is {now} now: the data moved. The retry reads the new one"
        )


def observed(instance: dg.DagsterInstance, key: dg.AssetKey) -> str | None:
    """The version of the last observation."""
    record = instance.get_latest_data_version_record(key)
    if record is None or record.asset_observation is None:
        return None
    return record.asset_observation.data_version


def observe(instance: dg.DagsterInstance, key: dg.AssetKey, version: str) -> None:
    """Record an observation outside of any run."""
    tags = {"dagster/data_version": version}
    instance.report_runless_asset_event(dg.AssetObservation(asset_key=key, tags=tags))

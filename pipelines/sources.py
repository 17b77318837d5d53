"""The published data sets: an asset of parts a source, the source joined from its parts, and the mixture of sources.

A part is a shard, a file or a range of one, as the adapter names them; parts run side by side, and one that failed is
run again alone. Which parts a source has is known once it is on disk: the sensor ``source_parts`` lists them.
"""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines import steps
from pipelines.resources import Tracer
from tracer import plugins
from tracer.dataset import SHARD_BYTES
from tracer.ingestion.assembly import join_parts
from tracer.ingestion.counts import STATS
from tracer.ingestion.mixture import mix
from tracer.ingestion.parts import ingest_part, parts_of
from tracer.ingestion.settings import DataConfig
from tracer.json_files import read_json
from tracer.lineage.digest import content_digest
from tracer.sources.source import SourceError

# Recordings (jsonl) are the flow's own asset, raw_episodes.
NAMES = tuple(name for name in plugins.names(plugins.SOURCES) if name != "jsonl")
GROUP = "sources"


class Sources(dg.ConfigurableResource[Any]):
    """Where published data sets are, and where they are ingested to."""

    root: str = "data/sources"
    """The folder that holds a folder per source, named like its adapter."""
    out: str = "build/sources"
    options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of the adapters' ``read``, by source, such as ``{agenttrek: {text_only: true}}``."""
    shard_bytes: int = SHARD_BYTES

    def path(self, name: str) -> Path:
        """Where a source's published files are."""
        return Path(self.root) / name

    def data(self, name: str) -> DataConfig:
        """What is ingested of a source."""
        return DataConfig(source=name, path=str(self.path(name)), options=self.options.get(name, {}), pointer="")

    def folder(self, name: str) -> Path:
        """Where a source is ingested to."""
        return Path(self.out) / name

    def part_folder(self, name: str, part: str) -> Path:
        """Where a part of a source is ingested to."""
        return Path(self.out) / f"{name}-parts" / part


PARTITIONS = {name: dg.DynamicPartitionsDefinition(name=f"{name}_parts") for name in NAMES}


def parts_asset(name: str) -> dg.AssetsDefinition:
    """The parts of one source: a materialisation ingests one part."""

    @dg.asset(
        name=f"{name}_parts",
        group_name=GROUP,
        partitions_def=PARTITIONS[name],
        kinds={"parquet"},
        pool="ingest",
        retry_policy=dg.RetryPolicy(max_retries=1),
        code_version=steps.code_version(plugins.module_of(plugins.SOURCES, name)),
        description=f"{name}, ingested part by part.",
    )
    def parts(context: dg.AssetExecutionContext, sources: Sources) -> dg.MaterializeResult[Any]:
        part = context.partition_key
        folder = sources.part_folder(name, part)
        ingest_part(sources.data(name), part, folder, shard_bytes=sources.shard_bytes)
        return _made(folder, content_digest(folder))

    return parts


def whole_asset(name: str, parts: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """One source, joined from all of its parts."""

    @dg.asset(
        name=name,
        group_name=GROUP,
        kinds={"parquet"},
        deps=[dg.AssetDep(parts, partition_mapping=dg.AllPartitionMapping())],
        code_version=steps.code_version("tracer.ingestion.assembly"),
        description=f"{name}, its parts joined: shards, quarantine and counts.",
    )
    def whole(sources: Sources) -> dg.MaterializeResult[Any]:
        names = parts_of(name, sources.path(name), sources.data(name).options)
        folder = sources.folder(name)
        done = join_parts(name, {part: sources.part_folder(name, part) for part in names}, folder)
        return _made(folder, done["output"])

    return whole


def published_check(name: str, whole: dg.AssetsDefinition) -> dg.AssetChecksDefinition:
    """Published counts beside ours. A difference is for people to judge: it warns, and stops nothing."""

    @dg.asset_check(asset=whole, name=f"{name}_published_counts")
    def counts(sources: Sources) -> dg.AssetCheckResult:
        stats = read_json(sources.folder(name) / STATS)
        published = stats.get("published", {})
        different = [key for key, count in published.items() if count["difference"]]
        rejected = stats["rejected"]
        return dg.AssetCheckResult(
            passed=not different,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"different: {', '.join(different)}" if different else "as published",
            metadata={"counts": dg.MetadataValue.json(published), "rejected": dg.MetadataValue.json(rejected)},
        )

    return counts


def _made(folder: Path, version: str, **more: Any) -> dg.MaterializeResult[Any]:
    stats = read_json(folder / STATS)
    metadata = {
        "folder": dg.MetadataValue.path(str(folder.resolve())),
        "trajectories": stats["trajectories"],
        "steps": stats["steps"],
        "rejected": stats["rejected"]["total"],
        "stats": dg.MetadataValue.json(stats),
    }
    return dg.MaterializeResult(data_version=dg.DataVersion(version), metadata={**metadata, **more})


PARTS = {name: parts_asset(name) for name in NAMES}
WHOLES = {name: whole_asset(name, PARTS[name]) for name in NAMES}


@dg.asset(
    group_name=GROUP,
    kinds={"parquet"},
    deps=list(WHOLES.values()),
    code_version=steps.code_version("tracer.ingestion.mixture"),
)
def mixture(tracer: Tracer) -> dg.MaterializeResult[Any]:
    """The sources that ``mixture`` of params.yaml names, filtered, capped and weighted, with a digest of its own."""
    config = tracer.config()
    out = config.out("mixture")
    done = mix(config.mixture, out)
    return _made(out, done["output"], digest=done["digest"])


@dg.sensor(
    name="source_parts",
    asset_selection=dg.AssetSelection.assets(*PARTS.values()),
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
)
def source_parts(context: dg.SensorEvaluationContext, sources: Sources) -> dg.SensorResult:
    """Lists the parts of every source that is on disk, and asks for those that it has not seen."""
    added: list[Any] = []
    requests: list[dg.RunRequest] = []
    missing: list[str] = []
    for name in NAMES:
        try:
            found = parts_of(name, sources.path(name), sources.data(name).options)
        except SourceError as error:
            missing.append(f"{name}: {error}")
            continue
        known = set(context.instance.get_dynamic_partitions(PARTITIONS[name].name or ""))
        new = [part for part in found if part not in known]
        if new:
            added.append(PARTITIONS[name].build_add_request(new))
            selection = [PARTS[name].key]
            requests += [
                dg.RunRequest(run_key=f"{name}/{part}", partition_key=part, asset_selection=selection) for part in new
            ]
    reason = None if requests else dg.SkipReason("; ".join(missing) or "no new part")
    return dg.SensorResult(run_requests=requests, dynamic_partitions_requests=added, skip_reason=reason)


assets: list[dg.AssetsDefinition] = [*PARTS.values(), *WHOLES.values(), mixture]
checks: list[dg.AssetChecksDefinition] = [published_check(name, whole) for name, whole in WHOLES.items()]
sensors: list[dg.SensorDefinition] = [source_parts]

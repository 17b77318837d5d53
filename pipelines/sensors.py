"""What polls the outside: the data's pin, and raw episodes that arrived beside it."""

import json
from pathlib import Path

import dagster as dg

from pipelines.assets.data import observe, observed, raw_episodes, trajectories
from pipelines.jobs import pin_data, retrain
from pipelines.resources import Tracer
from tracer.ingestion.parts import fingerprint
from tracer.lineage.digest import LineageError
from tracer.lineage.pins import dvc_md5, pinned_md5

MINUTE = 60


@dg.sensor(job=retrain, minimum_interval_seconds=MINUTE, description="Retrain when data.dvc pins another data set.")
def data_pinned(context: dg.SensorEvaluationContext, tracer: Tracer) -> dg.SensorResult | dg.SkipReason:
    """One run a pinned md5; none for the data that the present trajectories were made of."""
    pointer = Path(tracer.config().data.pointer)
    if not pointer.is_file():
        return dg.SkipReason(f"{pointer} does not exist: the data is not pinned")
    md5 = pinned_md5(pointer)
    event = context.instance.get_latest_materialization_event(trajectories.key)
    made_of = None
    if event is not None and event.asset_materialization is not None:
        made_of = event.asset_materialization.metadata.get("dvc_md5")
    if made_of is not None and made_of.value == md5:
        return dg.SkipReason(f"the trajectories are made of {md5}")
    if observed(context.instance, raw_episodes.key) != md5:
        observe(context.instance, raw_episodes.key, md5)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=md5, tags={"tracer/data": md5})])


@dg.sensor(job=pin_data, minimum_interval_seconds=MINUTE, description="Pin raw episodes that arrived and settled.")
def episodes_arrived(context: dg.SensorEvaluationContext, tracer: Tracer) -> dg.SensorResult | dg.SkipReason:
    """Waits until the folder looks the same twice, so that a copy in progress is not pinned."""
    pointer = Path(tracer.config().data.pointer)
    folder = pointer.with_suffix("")
    if not pointer.is_file() or not folder.is_dir():
        return dg.SkipReason(f"{folder} and {pointer} have to exist; `dvc pull` fetches the data")
    seen = json.loads(context.cursor or "{}")
    looks = fingerprint(folder)
    if looks != seen.get("looks"):
        cursor = json.dumps({"looks": looks})
        return dg.SensorResult(skip_reason=f"{folder} is changing, or was not looked at before", cursor=cursor)
    if "settled" in seen and seen["settled"] == pinned(pointer):
        return dg.SkipReason(f"{folder} is what {pointer} pins")
    md5 = dvc_md5(folder)
    cursor = json.dumps({"looks": looks, "settled": md5})
    if md5 == pinned(pointer):
        return dg.SensorResult(skip_reason=f"{folder} is what {pointer} pins", cursor=cursor)
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=md5)], cursor=cursor)


def pinned(pointer: Path) -> str | None:
    """The md5 that a pointer pins, or None where there is none."""
    try:
        return pinned_md5(pointer)
    except LineageError:
        return None  # `dvc add` writes it again at this moment

"""What polls the outside: data that arrived, the data's pin, and what somebody has to be told."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from pipelines.assets.data import observe, observed, raw_episodes, trajectories
from pipelines.assets.registry import champion
from pipelines.attempts import ABOUT, attempts, under_way
from pipelines.dead_runs import end_dead_runs
from pipelines.jobs import add_batch, retrain
from pipelines.resources import Tracer
from tracer import alerts
from tracer.batches import inbox
from tracer.config import Config
from tracer.flow import unregistered
from tracer.lineage.digest import digest_of
from tracer.lineage.pins import pinned_md5

MINUTE = 60
LOOKED_BACK = 100
"""How many decisions are looked through for the last one of a profile."""


@dg.sensor(job=retrain, minimum_interval_seconds=MINUTE, description="Retrain when the pinned data was not decided on.")
def data_pinned(context: dg.SensorEvaluationContext, tracer: Tracer) -> dg.SensorResult | dg.SkipReason:
    """A run wherever the last decision was on other data than is pinned now; one at a time."""
    config = tracer.config()
    pointer = Path(config.data.pointer)
    if unregistered(config) or not pointer.is_file():
        return dg.SkipReason(unregistered(config) or f"{pointer} does not exist: the data is not pinned")
    md5 = pinned_md5(pointer)
    decision, decided = last_decision(context.instance, config)
    if decided == md5:
        return dg.SkipReason(f"the last decision was on {md5}")
    end_dead_runs(context.instance)
    running = under_way(context.instance, retrain.name)
    if running:
        return dg.SkipReason(f"run {running} is under way; what was pinned since comes after it")
    about = f"{md5}/after-{decision}"
    next_run = attempts(context.instance, retrain.name, about)
    if next_run.given_up:
        if context.cursor != about:
            alerts.send("retraining given up", f"on the data {md5}: {next_run.reason}")
        return dg.SensorResult(skip_reason=next_run.reason, cursor=about)
    if not next_run.run_key:
        return dg.SkipReason(next_run.reason)
    if observed(context.instance, raw_episodes.key) != md5:
        observe(context.instance, raw_episodes.key, md5)
    tags = {ABOUT: about, "tracer/data": md5}
    return dg.SensorResult(run_requests=[dg.RunRequest(run_key=next_run.run_key, tags=tags)])


def last_decision(instance: dg.DagsterInstance, config: Config) -> tuple[str, str]:
    """The last decision on a challenger of this profile and seed: what names it, and the md5 of its data."""
    for record in instance.fetch_materializations(champion.key, limit=LOOKED_BACK).records:
        made = record.asset_materialization
        about = {name: value.value for name, value in made.metadata.items()} if made is not None else {}
        if "data" in about and (about["profile"], about["seed"]) == (config.profile, str(config.seed)):
            return str(record.storage_id), str(about["data"])
    return "nothing", ""


@dg.sensor(job=add_batch, minimum_interval_seconds=MINUTE, description="Judge what arrived in the inbox and settled.")
def data_arrived(context: dg.SensorEvaluationContext, tracer: Tracer) -> dg.SensorResult:
    """Waits until an arrival looks the same twice, so that a copy in progress is not judged."""
    seen = json.loads(context.cursor or "{}")
    found = {path: inbox.looks(path) for path in inbox.arrivals(tracer.config())}
    requests, waiting = [], []
    for path, looks in found.items():
        if seen.get(path) != looks:
            waiting.append(f"{path} is changing, or was not looked at before")
            continue
        about = digest_of([path, looks])[:16]
        next_run = attempts(context.instance, add_batch.name, about)
        if next_run.run_key:
            config = {"ops": {"judge": {"config": {"path": path}}}}
            requests.append(dg.RunRequest(run_key=next_run.run_key, run_config=config, tags={ABOUT: about}))
        else:
            waiting.append(f"{path}: {next_run.reason}")
    reason = None if requests else "; ".join(waiting) or "nothing arrived"
    return dg.SensorResult(run_requests=requests, skip_reason=reason, cursor=json.dumps(found))


@dg.run_failure_sensor(description="Alert when a run fails.", monitor_all_code_locations=True)
def run_failed(context: dg.RunFailureSensorContext) -> None:
    """One alert a failed run, with the error of each failed step."""
    steps = [f"{event.step_key}: {event.event_specific_data.error_display_string}"  # type: ignore[union-attr]
             for event in context.get_step_failure_events()]  # fmt: skip
    run, errors = context.dagster_run, steps or [str(context.failure_event.message)]
    alerts.send("run failed", "\n".join([f"{run.job_name}, run {run.run_id}", *errors]))


@dg.sensor(minimum_interval_seconds=15 * MINUTE, description="Alert on staleness, and on a broken record.")
def watch(context: dg.SensorEvaluationContext, tracer: Tracer) -> dg.SensorResult:
    """One alert when something begins to be wrong; another only after it was right again."""
    end_dead_runs(context.instance)
    known = set(json.loads(context.cursor or "[]"))
    found = dict(wrong(context.instance, tracer.config()))
    for what, (kind, text) in found.items():
        if what not in known:
            alerts.send(kind, text)
    reason = "; ".join(text for _, text in found.values()) or "nothing is stale, and the record is whole"
    return dg.SensorResult(skip_reason=reason, cursor=json.dumps(sorted(found)))


def wrong(instance: dg.DagsterInstance, config: Config) -> Iterator[tuple[str, tuple[alerts.Kind, str]]]:
    """What is wrong now: a name, and the alert about it."""
    for key, record in instance.get_freshness_state_records([trajectories.key, champion.key]).items():
        if record.freshness_state.value == "FAIL":
            name = key.to_user_string()
            since = f"{record.updated_at:%Y-%m-%d %H:%M} UTC"
            yield f"stale {name}", ("stale", f"{name} is older than its freshness policy allows, since {since}")
    if config.registry.enabled:
        from tracer.registry import record as promotions

        for name, what in promotions.read(config.registry).damage.items():
            yield f"broken {name}", ("record broken", f"{name}: {what}; see `tracer history --repair`")

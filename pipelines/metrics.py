"""What Prometheus is told of training and of the queue: ``tracer metrics``.

Read from what is there anyway (the heartbeats of the stages, the inbox, Dagster's runs, the promotion record), so that
nothing that trains has to serve or to know it, and what was killed still shows how long it has been silent.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pipelines.home import home
from tracer import exposition
from tracer.batches import inbox
from tracer.config import Config
from tracer.exposition import Family, Sample
from tracer.flow import unregistered
from tracer.lineage.digest import begun, finished
from tracer.registry import record, tracking
from tracer.stages import STAGES
from tracer.training.heartbeat import HEARTBEAT, read_heartbeat

LATELY_SECONDS = 24 * 3600
"""For how long after its last heartbeat a stage is shown."""
OF_A_STEP = {
    "reward": "The mean reward of the last step.",
    "loss": "The loss of the last step.",
    "dead_groups": "The share of the last step's groups whose rewards were all equal.",
    "tokens_per_second": "Sampled tokens a second, over the whole step.",
    "memory_bytes": "The most memory that the training process held: of its GPU, or of the machine.",
}
STATUSES = {
    "queued": ("NOT_STARTED", "QUEUED"),
    "running": ("STARTING", "STARTED", "CANCELING"),
    "failed": ("FAILURE",),
}


def text(config: Config, queue: bool = True) -> str:
    """All of them, in Prometheus's format; ``queue``: not only of training. Raises what Dagster's database does."""
    families = [*training(Path(config.build))]
    if queue:
        home()
        with dg.DagsterInstance.get() as instance:
            families += [*runs(instance), *registry(config)]
    return exposition.text(families)


def training(build: Path) -> Iterator[Family]:
    """The stages of every profile and seed that trained lately."""
    found: list[tuple[dict[str, str], Mapping[str, Any]]] = []
    for stage in STAGES:
        for path in sorted(build.glob(f"*/seed*/{stage.name}/{HEARTBEAT}")):
            out = path.parent.parent
            beat = read_heartbeat(out)
            if beat is not None and beat["age"] < LATELY_SECONDS:
                names = {"profile": out.parent.parent.name, "seed": out.parent.name[4:], "stage": stage.name}
                done = finished(out)
                doing = "finished" if done else beat["doing"].partition(":")[0]
                digest = (done or begun(out) or {}).get("digest", "")[:12]
                found.append((names, {**beat, "digest": digest, "doing": doing}))

    def each(key: str) -> list[Sample]:
        return [(names, beat[key]) for names, beat in found]

    about = [({**names, "digest": beat["digest"], "doing": beat["doing"]}, 1) for names, beat in found]
    yield Family("tracer_stage_info", "gauge", "A stage, the digest of its step, and what it is at.", about)
    yield Family("tracer_stage_step", "gauge", "Steps that are done.", each("step"))
    yield Family("tracer_stage_steps", "gauge", "Steps that it will have.", each("steps"))
    yield Family("tracer_stage_heartbeat_timestamp_seconds", "gauge", "When it was last heard of.", each("time"))
    for name, what in OF_A_STEP.items():
        samples = [(names, beat["metrics"][name]) for names, beat in found if name in beat["metrics"]]
        yield Family(f"tracer_stage_{name}", "gauge", what, samples)


def runs(instance: dg.DagsterInstance) -> Iterator[Family]:
    """Dagster's runs by what became of them, and when each job last succeeded."""
    counts: list[Sample] = []
    for status, names in STATUSES.items():
        wanted = dg.RunsFilter(statuses=[dg.DagsterRunStatus[name] for name in names])
        counts.append(({"status": status}, instance.get_runs_count(wanted)))
    yield Family("tracer_runs", "gauge", "Runs that Dagster keeps.", counts)
    last: list[Sample] = []
    for job in ("retrain", "add_batch"):
        wanted = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
        last += [({"job": job}, run.end_time or 0.0) for run in instance.get_run_records(wanted, limit=1)]
    yield Family("tracer_run_success_timestamp_seconds", "gauge", "When a run of the job last succeeded.", last)


def registry(config: Config) -> Iterator[Family]:
    """The batches that wait, whether the registry answers, and its champion."""
    waiting: list[Sample] = [({}, len(inbox.arrivals(config)))]
    yield Family("tracer_batches_waiting", "gauge", "Arrivals in the inbox that nobody judged yet.", waiting)
    champion: list[Sample] = []
    up = 0
    if not unregistered(config):
        # MLflow asks for minutes by default, and Prometheus wants to know now that nobody answers.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        try:
            found = record.read(config.registry)
        except (tracking.RegistryError, tracking.mlflow_error(), OSError):
            pass
        else:
            up = int(not found.damage)
            since = crowned(found)
            champion += [({"version": found.champion}, since)] if since else []
    yield Family("tracer_registry_up", "gauge", "Whether the registry answers and its record is whole.", [({}, up)])
    yield Family("tracer_champion_since_timestamp_seconds", "gauge", "When it became champion.", champion)


def crowned(found: record.Record) -> float:
    """Since when the champion is champion; 0 without one."""
    since = 0.0
    for before, decision in zip((None, *found.decisions), found.decisions, strict=False):
        if before is None or before.champion != decision.champion:
            since = datetime.fromisoformat(decision.decided).timestamp()
    return since if found.champion is not None else 0.0

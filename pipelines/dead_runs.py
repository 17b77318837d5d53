"""Runs whose process was killed, and the places in the pools that they still hold.

Dagster's daemon watches the runs that it started. A run of ``dagster job execute`` or ``tracer demo`` is nobody's: it
would be shown as running for ever, and the next run would wait for its place without a word. So every run says which
process it is, and whoever comes next ends those whose process is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import parent_process

import dagster as dg

from tracer.registry import tracking

PROCESS = "tracer/process"
LAUNCHED = ".dagster/grpc_info"  # a run that Dagster's daemon started, and watches
UNFINISHED = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.CANCELING]


def sign(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say which process a run is, unless it says so already."""
    run = instance.get_run_by_id(run_id)
    name = run.tags.get(PROCESS) if run is not None else None
    if run is not None and (name is None or not alive(name)):
        parent = parent_process()  # the executor, where each step has a process of its own
        instance.add_run_tags(run_id, {PROCESS: tracking.writer(parent.pid if parent else None)})


def alive(name: str) -> bool:
    """Whether the process of a run still runs; one on another host is assumed to."""
    return tracking.alive(name) is not False


def end_dead_runs(instance: dg.DagsterInstance) -> None:
    """End the runs whose process is gone, and free their places in the pools."""
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        name = run.tags.get(PROCESS)
        if name is not None and LAUNCHED not in run.tags and not alive(name):
            instance.report_run_canceled(run, message=f"its process {name} ended before it was done")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def holders(instance: dg.DagsterInstance, pool: str, besides: str) -> Iterator[str]:
    """The runs that hold a pool's places, ``besides`` one's own, in words."""
    if not instance.event_log_storage.supports_global_concurrency_limits:
        return
    for run_id in sorted(instance.event_log_storage.get_concurrency_info(pool).active_run_ids - {besides}):
        run = instance.get_run_by_id(run_id)
        if run is not None:
            who = run.tags.get(PROCESS, "a process that it does not name")
            yield f"run {run_id} of {run.job_name} ({run.status.value.lower()}, {who})"

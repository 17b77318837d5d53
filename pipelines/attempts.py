"""What a sensor asks for, asked for once, and again if it failed: later each time, and not for ever.

The runs themselves are the memory, which ``tracer gc`` leaves alone: they carry what they are about in a tag. So two
daemons, or one that was restarted, ask for the same run key, which Dagster starts once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import dagster as dg

ABOUT = "tracer/about"
OVER = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
UNDER_WAY = [status for status in dg.DagsterRunStatus if status not in OVER]
MOST = 3
FIRST_WAIT_SECONDS = 600
"""After the first failure; each further one doubles it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """What came of the runs about one thing."""

    run_key: str = ""
    """The next run's key; empty where there is none to start now."""
    reason: str = ""
    """Why not."""
    given_up: bool = False


def under_way(instance: dg.DagsterInstance, job: str, about: str | None = None) -> str:
    """The id of a job's run that is not finished, about one thing or any; empty where there is none."""
    tags = {} if about is None else {ABOUT: about}
    found = instance.get_runs(dg.RunsFilter(job_name=job, statuses=UNDER_WAY, tags=tags), limit=1)
    return found[0].run_id if found else ""


def attempts(instance: dg.DagsterInstance, job: str, about: str, now: float | None = None) -> Attempts:
    """Whether to start a job's next run about something that is not done yet."""
    running = under_way(instance, job, about)
    if running:
        return Attempts(reason=f"run {running} is under way")
    records = instance.get_run_records(dg.RunsFilter(job_name=job, tags={ABOUT: about}))
    if not records:
        return Attempts(run_key=f"{about}/1")
    last = max(records, key=lambda record: record.storage_id)
    if last.dagster_run.is_complete_and_waiting_to_retry:
        return Attempts(reason=f"Dagster starts run {last.dagster_run.run_id} again")
    if last.dagster_run.status == dg.DagsterRunStatus.CANCELED:
        return Attempts(reason=f"run {last.dagster_run.run_id} was cancelled; launch it by hand")
    if len(records) >= MOST:
        return Attempts(
            reason=f"{len(records)} runs came to nothing, the last is {last.dagster_run.run_id}", given_up=True
        )
    ended = last.end_time or last.update_timestamp.timestamp()
    wait = ended + FIRST_WAIT_SECONDS * 2 ** (len(records) - 1) - (time.time() if now is None else now)
    if wait > 0:
        return Attempts(reason=f"run {last.dagster_run.run_id} came to nothing; the next is in {wait / 60:.0f} minutes")
    return Attempts(run_key=f"{about}/{len(records) + 1}")

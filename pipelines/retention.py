"""Dagster's event log, kept as long as the policy says."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from pipelines.attempts import ABOUT, OVER
from pipelines.home import DEFAULT, home


def prune(keep_days: float, dry_run: bool = False) -> list[str]:
    """Delete the finished runs that are older, with their events and logs; return their ids.

    What the assets show stays: the run of an asset's last materialization is kept, however old. So does what the
    sensors count: the runs that came to nothing, and those about what a job was started for last.
    """
    if not Path(os.environ.get("DAGSTER_HOME") or DEFAULT).is_dir():
        return []
    home()
    with dg.DagsterInstance.get() as instance:
        return pruned(instance, keep_days, dry_run)


def pruned(instance: dg.DagsterInstance, keep_days: float, dry_run: bool) -> list[str]:
    """``prune`` for an instance."""
    latest = [instance.get_latest_materialization_event(key) for key in instance.all_asset_keys()]
    needed = {event.run_id for event in latest if event is not None}
    last = dict[str, str]()
    asked = [run for run in instance.get_runs() if ABOUT in run.tags]  # newest first
    for run in asked:
        last.setdefault(run.job_name, run.tags[ABOUT])
    needed |= {run.run_id for run in asked if not run.is_success or run.tags[ABOUT] == last[run.job_name]}
    over = dg.RunsFilter(statuses=OVER, updated_before=datetime.now(UTC) - timedelta(days=keep_days))
    found = [run.run_id for run in instance.get_runs(filters=over) if run.run_id not in needed]
    if not dry_run:
        for run_id in found:
            instance.delete_run(run_id)
            instance.compute_log_manager.delete_logs(prefix=[run_id])
    return found

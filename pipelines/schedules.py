"""The clock."""

from __future__ import annotations

import dagster as dg

from pipelines.jobs import retrain

weekly = dg.ScheduleDefinition(
    name="weekly",
    job=retrain,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    description="The whole chain, Mondays at 03:00 UTC. With nothing new it finds every step finished.",
)

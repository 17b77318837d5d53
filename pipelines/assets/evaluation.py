"""Every planner on held-out states and in the browser, and the report on all of it."""

from typing import Any

import dagster as dg

from pipelines import pictures, steps
from pipelines.steps import Lineage
from tracer import flow
from tracer.config import Config
from tracer.evaluation.results import SCORES
from tracer.flow import FlowStep
from tracer.json_files import read_json

RETRY = dg.RetryPolicy(max_retries=1, delay=5)


def offline(context: dg.AssetExecutionContext, config: Config, step: FlowStep, done: Lineage) -> dict[str, Any]:
    """What is shown of an offline evaluation."""
    return {"forecasts": pictures.forecasts(config, step.folders(config)["ingest"], step.out(config))}


def online(context: dg.AssetExecutionContext, config: Config, step: FlowStep, done: Lineage) -> dict[str, Any]:
    """What is shown of an online evaluation."""
    skipped = read_json(step.out(config) / SCORES).get("skipped")
    if skipped:
        context.log.warning(f"online evaluation skipped: {skipped}")
    return {"skipped": skipped or "no"}


def report(context: dg.AssetExecutionContext, config: Config, step: FlowStep, done: Lineage) -> dict[str, Any]:
    """What is shown of the report."""
    from tracer.registry.register import attach_report
    from tracer.reporting.report import PAGE
    from tracer.reporting.tables import results_table

    table = results_table(flow.report_folders(config))
    page = attach_report(config, step.out(config)) or (step.out(config) / PAGE).resolve().as_uri()
    return {"page": dg.MetadataValue.url(page), "results": dg.MetadataValue.md(f"```\n{table}\n```")}


# Eager, but not before the gates behind everything it shows are open.
READY = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
assets = [
    *(steps.asset(step, offline, kinds={"pytorch"}, retry_policy=RETRY) for step in flow.of("offline")),
    *(steps.asset(step, online, kinds={"chromium"}, retry_policy=RETRY) for step in flow.of("online")),
    *(steps.asset(step, report, kinds={"html"}, automation_condition=READY) for step in flow.of("report")),
]

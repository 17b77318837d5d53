"""Every planner on held-out states and in the browser, and the report on all of it."""

from typing import Any

import dagster as dg

from pipelines import pictures, steps
from tracer import flow
from tracer.config import Config
from tracer.evaluation.results import SCORES
from tracer.flow import FlowStep
from tracer.json_files import read_json

RETRY = dg.RetryPolicy(max_retries=1, delay=5)


def offline_asset(step: FlowStep) -> dg.AssetsDefinition:
    """The asset of an offline evaluation."""

    def shown(context: dg.AssetExecutionContext, config: Config) -> dict[str, Any]:
        return {"forecasts": pictures.forecasts(config, step.folders(config)["ingest"], step.out(config))}

    return steps.asset(step, shown, kinds={"pytorch"}, retry_policy=RETRY)


def online_asset(step: FlowStep) -> dg.AssetsDefinition:
    """The asset of an online evaluation."""

    def shown(context: dg.AssetExecutionContext, config: Config) -> dict[str, Any]:
        skipped = read_json(step.out(config) / SCORES).get("skipped")
        if skipped:
            context.log.warning(f"online evaluation skipped: {skipped}")
        return {"skipped": skipped or "no"}

    return steps.asset(step, shown, kinds={"chromium"}, retry_policy=RETRY)


def report_asset(step: FlowStep) -> dg.AssetsDefinition:
    """The asset of the report."""

    def shown(context: dg.AssetExecutionContext, config: Config) -> dict[str, Any]:
        from tracer.registry.register import attach_report
        from tracer.reporting.report import PAGE
        from tracer.reporting.tables import results_table

        table = results_table(flow.report_folders(config))
        page = attach_report(config, step.out(config)) or (step.out(config) / PAGE).resolve().as_uri()
        return {"page": dg.MetadataValue.url(page), "results": dg.MetadataValue.md(f"```\n{table}\n```")}

    # Eager, but not before the gates behind everything it shows are open.
    ready = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
    return steps.asset(step, shown, kinds={"html"}, automation_condition=ready)


assets = [
    *map(offline_asset, flow.of("offline")),
    *map(online_asset, flow.of("online")),
    *map(report_asset, flow.of("report")),
]

"""Base, stage 1 and stage 2 on held-out states and in Chromium, and the report on all of it."""

import json
from typing import Any

import dagster as dg

from pipelines import pictures, steps
from pipelines.assets.data import base_planner, trajectories
from pipelines.assets.training import stage1, stage2
from pipelines.resources import GPU_TAGS, Tracer
from tracer.evaluation import offline, online
from tracer.evaluation.results import SCORES
from tracer.flow import MODELS, model, report_folders

OWNERS = ["team:evaluation"]
PLANNERS: dict[str, Any] = {"base": base_planner, "stage1": stage1, "stage2": stage2}
RETRY = dg.RetryPolicy(max_retries=1, delay=5)


def offline_asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"evaluate_{name}",
        deps=[trajectories, PLANNERS[name]],
        description=f"{name} on held-out states: step success, forecast similarity, correct prefix, repetition.",
        group_name="evaluation",
        kinds={"pytorch"},
        owners=OWNERS,
        tags={"domain": "evaluation", "cost": "gpu"},
        code_version=steps.code_version("tracer.evaluation.offline"),
        retry_policy=RETRY,
        pool="gpu",
        op_tags=GPU_TAGS,
    )
    def evaluated(context: dg.AssetExecutionContext, tracer: Tracer) -> dg.MaterializeResult[Any]:
        config = tracer.config()
        out = config.out(f"evaluate-{name}")
        with steps.interruptible(context):
            done = offline.evaluate(config, config.out("ingest"), model(config, name), out)
        drawn = pictures.forecasts(config, config.out("ingest"), out)
        return steps.made(config, out, done, forecasts=drawn)

    return evaluated


def online_asset(name: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"online_{name}",
        deps=[PLANNERS[name]],
        description=f"{name} in Chromium: task success, forecasting anew each step, reacting, and planning once.",
        group_name="evaluation",
        kinds={"chromium"},
        owners=OWNERS,
        tags={"domain": "evaluation", "cost": "gpu"},
        code_version=steps.code_version("tracer.evaluation.online"),
        retry_policy=RETRY,
        pool="gpu",
        op_tags=GPU_TAGS,
    )
    def played(context: dg.AssetExecutionContext, tracer: Tracer) -> dg.MaterializeResult[Any]:
        config = tracer.config()
        out = config.out(f"online-{name}")
        with steps.interruptible(context):
            done = online.evaluate(config, model(config, name), out)
        skipped = json.loads((out / SCORES).read_text()).get("skipped")
        if skipped:
            context.log.warning(f"online evaluation skipped: {skipped}")
        return steps.made(config, out, done, skipped=skipped or "no")

    return played


offline_assets = [offline_asset(name) for name in MODELS]
online_assets = [online_asset(name) for name in MODELS]


@dg.asset(
    deps=[trajectories, stage1, stage2, *offline_assets, *online_assets],
    group_name="evaluation",
    kinds={"html"},
    owners=OWNERS,
    tags={"domain": "evaluation", "cost": "cheap"},
    code_version=steps.code_version("tracer.reporting.report"),
    automation_condition=dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed(),
)
def report(tracer: Tracer) -> dg.MaterializeResult[Any]:
    """One HTML page: the table of results, reward curves, and forecasts drawn on their screens."""
    from tracer.reporting.report import report as write
    from tracer.reporting.tables import results_table

    config = tracer.config()
    out, folders = config.out("report"), report_folders(config)
    done = write(config, folders, out)
    page = next(iter(sorted(out.glob("*.html"))))
    table = f"```\n{results_table(folders)}\n```"
    return steps.made(
        config, out, done, page=dg.MetadataValue.path(str(page.resolve())), results=dg.MetadataValue.md(table)
    )

"""The challenger, and the champion that it becomes if it passes the gate of mlflow/promotion.yaml."""

from typing import Any

import dagster as dg

from pipelines import steps
from pipelines.resources import Tracer
from tracer import alerts
from tracer.config import Config
from tracer.flow import step, unregistered
from tracer.lineage.step import read_lineage
from tracer.registry import links
from tracer.registry.register import attach_report

REGISTER, PROMOTE = step("register"), step("promote")


@dg.asset(**steps.declared(REGISTER, kinds={"mlflow"}))
def registered_model(tracer: Tracer) -> dg.MaterializeResult[Any]:
    """A version of ``tracer-planner`` with the alias ``challenger``; the same weights find their version."""
    config = tracer.config()
    version = REGISTER.run(config)
    if version is None:
        return dg.MaterializeResult(metadata={"skipped": unregistered(config)})
    page = links.version_page(config.registry, version.name, version.version)
    report = attach_report(config, config.out("report"))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{version.name}/{version.version}/{version.output}"),
        metadata={
            "version": version.version,
            "uri": version.uri,
            "page": dg.MetadataValue.url(page),
            "run": dg.MetadataValue.url(f"{links.pages(config.registry)}/#/runs/{version.run_id}"),
            **({} if report is None else {"report": dg.MetadataValue.url(report)}),
            "aliases": ", ".join(version.aliases) or "none",
            "digest": version.digest,
        },
    )


def decided_on(config: Config) -> dict[str, str]:
    """What tells a decision of a profile on some data from all others: the sensor ``data_pinned`` goes by it."""
    ingested = read_lineage(config.out("ingest"))["metrics"]
    return {"data": ingested.get("dvc_md5") or "not pinned", "profile": config.profile, "seed": str(config.seed)}


@dg.asset(**steps.declared(PROMOTE, kinds={"mlflow"}, freshness_policy=steps.FRESH_CHAMPION))
def champion(context: dg.AssetExecutionContext, tracer: Tracer) -> dg.MaterializeResult[Any]:
    """The decision on the challenger. A refusal is a result: the champion stays who it is."""
    from tracer.registry.promotion import describe

    config = tracer.config()
    decision = PROMOTE.run(config)
    if decision is None:
        return dg.MaterializeResult(metadata={"skipped": unregistered(config)})
    context.log.info(describe(decision))
    last = context.instance.get_latest_materialization_event(context.asset_key)
    seen = last.asset_materialization.metadata.get("decided") if last and last.asset_materialization else None
    if decision.outcome in ("refused", "waiting") and (seen is None or seen.value != decision.decided):
        alerts.send("challenger refused", describe(decision))
    rows = [
        dg.TableRecord({"check": check.name, "passed": check.passed, "found": check.description})
        for check in decision.checks
    ]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(decision.digest),
        metadata={
            "outcome": decision.outcome,
            "decided": decision.decided,
            **decided_on(config),
            "champion": "none" if decision.champion is None else str(decision.champion),
            "challenger": decision.version,
            "page": dg.MetadataValue.url(links.version_page(config.registry, config.registry.model, decision.version)),
            "incumbent": decision.incumbent,
            "reason": decision.reason,
            **({"checks": dg.MetadataValue.table(rows)} if rows else {}),
        },
    )

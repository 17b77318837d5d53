"""The challenger, and the champion that it becomes if it passes the gate of mlflow/promotion.yaml."""

from typing import Any

import dagster as dg

from pipelines import steps
from pipelines.resources import Tracer
from tracer.flow import step, unregistered

REGISTER, PROMOTE = step("register"), step("promote")


@dg.asset(**steps.declared(REGISTER, kinds={"mlflow"}))
def registered_model(tracer: Tracer) -> dg.MaterializeResult[Any]:
    """A version of ``tracer-planner`` with the alias ``challenger``; the same weights find their version."""
    config = tracer.config()
    version = REGISTER.run(config)
    if version is None:
        return dg.MaterializeResult(metadata={"skipped": unregistered(config)})
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{version.name}/{version.version}/{version.output}"),
        metadata={
            "version": version.version,
            "uri": version.uri,
            "run": version.run_id,
            "aliases": ", ".join(version.aliases) or "none",
            "digest": version.digest,
        },
    )


@dg.asset(**steps.declared(PROMOTE, kinds={"mlflow"}))
def champion(context: dg.AssetExecutionContext, tracer: Tracer) -> dg.MaterializeResult[Any]:
    """The decision on the challenger. A refusal is a result: the champion stays who it is."""
    from tracer.registry.promotion import describe

    config = tracer.config()
    decision = PROMOTE.run(config)
    if decision is None:
        return dg.MaterializeResult(metadata={"skipped": unregistered(config)})
    context.log.info(describe(decision))
    rows = [
        dg.TableRecord({"check": check.name, "passed": check.passed, "found": check.description})
        for check in decision.checks
    ]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(decision.digest),
        metadata={
            "outcome": decision.outcome,
            "champion": "none" if decision.champion is None else str(decision.champion),
            "challenger": decision.version,
            "incumbent": decision.incumbent,
            "reason": decision.reason,
            **({"checks": dg.MetadataValue.table(rows)} if rows else {}),
        },
    )

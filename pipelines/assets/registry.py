"""The challenger, and the champion that it becomes if it passes the gate of mlflow/promotion.yaml."""

from typing import Any

import dagster as dg

from pipelines import steps
from pipelines.assets.data import trajectories
from pipelines.assets.evaluation import offline_assets, online_assets
from pipelines.assets.training import stage2
from pipelines.resources import Tracer
from tracer.flow import incumbent, registered

OWNERS = ["team:registry"]


@dg.asset(
    deps=[stage2, *offline_assets[2:], *online_assets[2:]],
    group_name="registry",
    kinds={"mlflow"},
    owners=OWNERS,
    tags={"domain": "registry", "cost": "cheap"},
    code_version=steps.code_version("tracer.registry.versions"),
)
def registered_model(tracer: Tracer) -> dg.MaterializeResult[Any]:
    """A version of ``tracer-planner`` with the alias ``challenger``; the same weights find their version."""

    from tracer.registry import versions

    config = tracer.config()
    version = versions.register(config, config.out("stage2"), registered(config))
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


@dg.asset(
    deps=[registered_model, trajectories, offline_assets[0], online_assets[0]],
    group_name="registry",
    kinds={"mlflow"},
    owners=OWNERS,
    tags={"domain": "registry", "cost": "cheap"},
    code_version=steps.code_version("tracer.registry.promotion"),
)
def champion(context: dg.AssetExecutionContext, tracer: Tracer) -> dg.MaterializeResult[Any]:
    """The decision on the challenger. A refusal is a result: the champion stays who it is."""
    from tracer.registry import promotion

    config = tracer.config()
    decision = promotion.promote(config, incumbent(config), config.out("ingest"))
    context.log.info(promotion.describe(decision))
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

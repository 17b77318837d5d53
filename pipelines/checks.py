"""The gates: data before training, and each stage before the next. All of them block what comes after."""

import re
from collections.abc import Iterator
from typing import Any

import dagster as dg

from pipelines import steps
from pipelines.resources import Tracer
from tracer.config import Config
from tracer.flow import FlowStep, of, step
from tracer.json_files import read_json
from tracer.training import gates
from tracer.validation.suite import expectations
from tracer.validation.validate import DATA_DOCS, RESULTS, explain

VALIDATE, TRAJECTORIES = step("validate"), steps.key("ingest")


def check_name(expectation: str) -> str:
    """A name that Dagster allows."""
    return re.sub(r"\W+", "_", expectation).strip("_")


# The names and severities do not depend on the configuration, which is not read before a run.
EXPECTATIONS = expectations(Config(profile="any"), prompts=True)


@dg.multi_asset_check(
    name="validation",
    specs=[
        dg.AssetCheckSpec(
            check_name(one.name), asset=TRAJECTORIES, blocking=one.severity == "error", description=one.name
        )
        for one in EXPECTATIONS
    ],
)
def validation(tracer: Tracer) -> Iterator[dg.AssetCheckResult]:
    """One Great Expectations run over the shards, one result an expectation."""
    config = tracer.config()
    out = VALIDATE.out(config)
    VALIDATE.produce(config, out)
    docs = dg.MetadataValue.path(str((out / DATA_DOCS / "index.html").resolve()))
    for result in read_json(out / RESULTS, "results")["results"]:
        error = result["severity"] == "error"
        yield dg.AssetCheckResult(
            check_name=check_name(result["name"]),
            asset_key=TRAJECTORIES,
            passed=result["success"],
            severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
            description=result["name"] if result["success"] else explain(result),
            metadata={
                "observed": str(result["observed"]),
                "expected": dg.MetadataValue.json(result["expected"]),
                "unexpected": result["unexpected"],
                "examples": dg.MetadataValue.json(result["examples"]),
                "data_docs": docs,
            },
        )


def gate_checks(step: FlowStep) -> dg.AssetChecksDefinition:
    """The checks behind a stage, which block what comes after it."""
    asset = steps.key(step.planner)

    @dg.multi_asset_check(
        name=step.name.replace("-", "_"),
        specs=[dg.AssetCheckSpec(name, asset=asset, blocking=True) for name in gates.CHECKS],
    )
    def gate(tracer: Tracer) -> Iterator[dg.AssetCheckResult]:
        config = tracer.config()
        out = step.out(config)
        step.produce(config, out)
        for result in gates.results(out):
            yield dg.AssetCheckResult(
                check_name=result["name"],
                asset_key=asset,
                passed=result["passed"],
                description=result["description"],
                metadata={"value": float(result["value"]), "limit": float(result["limit"])},
            )

    return gate


ALL: list[Any] = [validation, *map(gate_checks, of("gate"))]

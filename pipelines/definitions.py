"""Everything Dagster knows of: ``dagster dev -m pipelines.definitions``."""

from __future__ import annotations

import os

import dagster as dg

from pipelines import benchmarks, checks, sources, steps
from pipelines.ablations import ablations
from pipelines.assets import data, evaluation, registry, training
from pipelines.jobs import add_batch, retrain, seeds
from pipelines.loggers import brief
from pipelines.resources import PROFILES, Tracer, Trainer
from pipelines.schedules import weekly
from pipelines.sensors import data_arrived, data_pinned, run_failed, watch

FLOW: list[dg.AssetsDefinition | dg.AssetSpec | dg.SourceAsset] = [
    data.raw_episodes,
    data.base_planner,
    data.trajectories,
    *training.assets,
    *evaluation.assets,
    registry.registered_model,
    registry.champion,
]

defs = dg.Definitions(
    assets=[*FLOW, *benchmarks.assets, *sources.assets],
    asset_checks=[*checks.ALL, *benchmarks.checks, *sources.checks],
    jobs=[retrain, seeds, add_batch, ablations],
    schedules=[weekly],
    sensors=[data_arrived, data_pinned, run_failed, watch, *sources.sensors],
    resources={
        "tracer": Tracer(profile=PROFILES[0], seed=steps.settings().seed),
        # In a cluster models run in pods: Kubernetes sets this variable in every container.
        "trainer": Trainer(mode="kubernetes" if "KUBERNETES_SERVICE_HOST" in os.environ else "subprocess"),
        "sources": sources.Sources(),
    },
    loggers={"brief": brief, "console": dg.colored_console_logger},
)

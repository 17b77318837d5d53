"""Everything Dagster knows of: ``dagster dev -m pipelines.definitions``."""

from __future__ import annotations

import dagster as dg

from pipelines import benchmarks, checks, sources
from pipelines.ablations import ablations
from pipelines.assets import data, evaluation, registry, training
from pipelines.jobs import pin_data, retrain
from pipelines.loggers import brief
from pipelines.resources import Dvc, Tracer, Trainer
from pipelines.schedules import weekly
from pipelines.sensors import data_pinned, episodes_arrived

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
    jobs=[retrain, pin_data, ablations],
    schedules=[weekly],
    sensors=[data_pinned, episodes_arrived, *sources.sensors],
    resources={"tracer": Tracer(), "trainer": Trainer(), "dvc": Dvc(), "sources": sources.Sources()},
    loggers={"brief": brief, "console": dg.colored_console_logger},
)

"""The stages of training, in their order; the planner of the last one is registered.

To add a stage, write a module with its ``Stage`` (such as tracer/training/stage2.py), put it into the list below, and
give ``Config`` (tracer/config.py) a field of its name for its settings. The steps, dvc.yaml, Dagster's assets and
checks, the report, the registry, the experiments and the command line follow from the list.
"""

from __future__ import annotations

from tracer.training import stage1, stage2

STAGES = (stage1.STAGE, stage2.STAGE)
BASE = "base"
PROMISES = tuple((stage, promise) for stage in STAGES for promise in stage.promises)
MODELS = (BASE, *(stage.name for stage in STAGES))
"""The planners of the flow, each but the first made by the stage of its name."""

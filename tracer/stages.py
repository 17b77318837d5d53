"""The stages of training, in their order. To add one: a module with its ``Stage``, its name here, and its section.

The section is a field of ``Config`` (tracer/config.py) with the stage's name. Steps, dvc.yaml, assets, gates, report
and the command line follow from the list; the last stage is the one that is registered.
"""

from __future__ import annotations

from tracer.training import stage1, stage2

STAGES = (stage1.STAGE, stage2.STAGE)
BASE = "base"
PROMISES = tuple((stage, promise) for stage in STAGES for promise in stage.promises)
MODELS = (BASE, *(stage.name for stage in STAGES))
"""The planners of the flow, each but the first made by the stage of its name."""

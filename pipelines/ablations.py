"""The job ``ablations``: every variant and seed of tracer/experiments/ablation.py, and its page."""

import sys
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines import processes
from pipelines.resources import GPU_TAGS, PROFILES, Profile
from tracer.experiments.ablation import VARIANTS

WEEK = 7 * 24 * 3600


class Ablations(dg.ConfigurableResource[Any]):
    """What ``tracer ablate`` takes, for every op of the job."""

    profile: Profile = PROFILES[0]
    seeds: int = 3
    settings: list[str] = Field(
        default=[], description='Settings of params.yaml for all variants, each "dotted.key=value".'
    )
    out: str = "docs/ablations"
    """Where results are recorded; the page is beside this folder."""
    stall_seconds: int = 3600
    """How long a variant may say nothing before it is taken for stuck; its retry continues from a checkpoint."""

    def arguments(self) -> list[str]:
        """The arguments of ``tracer ablate``."""
        settings = [argument for setting in self.settings for argument in ("--set", setting)]
        return ["--profile", self.profile, "--seeds", str(self.seeds), *settings, "--out", self.out]


def variant_op(name: str) -> dg.OpDefinition:
    """The op that trains and compares one variant. Its baseline is found finished by every op after the first."""

    @dg.op(
        name=name.replace("-", "_"),
        description=f"`tracer ablate --only {name}`",
        ins={"after": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        pool="gpu",
        tags=GPU_TAGS,
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
    )
    def op(context: dg.OpExecutionContext, settings: Ablations) -> None:
        command = [sys.executable, "-m", "tracer", "ablate", *settings.arguments(), "--only", name]
        processes.run(context, command, settings.stall_seconds)

    return op


OPS = [variant_op(variant.name) for variant in VARIANTS]
RESOURCES = {"settings": Ablations()}


# One after the other: they share the baseline's folders, and one machine's cores or GPU.
@dg.job(
    description="The ablations of the paper and ours, at least three seeds each; docs/ablations.md is their page.",
    executor_def=dg.in_process_executor,
    tags={"dagster/max_runtime": str(WEEK)},
    resource_defs=RESOURCES,
)
def ablations() -> None:
    """Run every variant, one after the other."""
    before = None
    for op in OPS:
        before = op() if before is None else op(after=before)

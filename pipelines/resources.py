"""What the assets are given: the configuration of a run, and who trains."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from pipelines import dead_runs, processes
from tracer.config import PARAMS, Config, load, profiles
from tracer.flow import FlowStep
from tracer.lineage.step import read_lineage
from tracer.training import launch

GPU = "gpu"
"""The pool of the steps that run a model."""
GPU_TAGS = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}}


PROFILES = profiles() if PARAMS.is_file() else ("none",)
"""What the launchpad offers; a profile added to params.yaml is there after "Reload definitions"."""
if TYPE_CHECKING:
    Profile = str
else:
    Profile = StrEnum(f"one of {', '.join(PROFILES)}", {name: name for name in PROFILES})


# Dagster shows the fields of a resource in the order of the alphabet.
class Tracer(dg.ConfigurableResource[Any]):
    """The profile and seed of a run, as ``tracer --profile P --seed N --set KEY=VALUE`` takes them."""

    profile: Profile | None = Field(
        default=None, description="A profile of params.yaml; without one, that which it names."
    )
    seed: int | None = Field(default=None, description="Without one, the profile's.")
    settings: list[str] = Field(default=[], description='Other settings of params.yaml, each "dotted.key=value".')

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Before a run: free what dead runs hold, and say who holds the GPU, which the run would wait for silently."""
        if context.instance is None or context.run is None:
            return
        dead_runs.sign(context.instance, context.run.run_id)
        dead_runs.end_dead_runs(context.instance)
        for holder in dead_runs.holders(context.instance, GPU, besides=context.run.run_id):
            if context.log is not None:
                context.log.warning(f"the pool {GPU} is held by {holder}: steps that need it wait")

    def config(self) -> Config:
        """The configuration that the resource names."""
        seed = [] if self.seed is None else [f"seed={self.seed}"]
        return load(self.profile, [*self.settings, *seed])

    def arguments(self) -> list[str]:
        """The same configuration as arguments of the ``tracer`` command, which follow ``--profile``."""
        settings = [argument for setting in self.settings for argument in ("--set", setting)]
        return ["--seed", str(self.config().seed), *settings]


class Pod(dg.Config):
    """A pod that trains."""

    gpus: int = 1
    image: str = "tracer:gpu"
    namespace: str = "tracer"
    volume: str = "tracer-work"
    """The claim of the volume that runs share (infra/k8s/volume.yaml), mounted where the image's `build` leads."""

    def spec(self) -> dict[str, Any]:
        """The pod: its GPUs, and the volume with the outputs; code and data are those of the image.

        When its node is drained, it has half a minute for a checkpoint (tracer/training/eviction.py).
        """
        return {
            "restart_policy": "Never",
            "termination_grace_period_seconds": 30,
            "security_context": {"run_as_non_root": True, "run_as_user": 1000, "fs_group": 1000},
            "containers": [
                {
                    "name": "tracer",
                    "resources": {"limits": {"nvidia.com/gpu": str(self.gpus)}},
                    "volume_mounts": [{"name": "work", "mount_path": "/var/lib/tracer"}],
                }
            ],
            "volumes": [{"name": "work", "persistent_volume_claim": {"claim_name": self.volume}}],
        }


class Trainer(dg.ConfigurableResource[Any]):
    """Where training runs. Everywhere it is the same step, so its outputs and digests are the same."""

    mode: Literal["subprocess", "in_process", "kubernetes"] = "subprocess"
    """A process of its own through Dagster Pipes; this process; or a pod through Dagster Pipes."""
    stall_seconds: int = 3600
    """How long a process may say nothing before it is taken for stuck and ended; the retry resumes it."""
    pod: Pod | None = Field(default=None, description="The pod of the mode kubernetes; without one, one with one GPU.")

    def train(self, context: dg.AssetExecutionContext, tracer: Tracer, step: FlowStep) -> dict[str, Any]:
        """Run ``tracer train STAGE``; return the lineage of its folder."""
        config = tracer.config()
        out, options = step.out(config), config.launch
        if self.mode == "in_process":
            done: dict[str, Any] = step.run(config)
            return done
        if options.nodes > 1:
            raise dg.Failure(
                f"{step.name} trains on {options.nodes} machines, which Dagster does not start: run `sbatch "
                f"infra/accelerate/slurm.sbatch {step.name} {config.profile}`, and materialize again; it is found "
                f"finished"
            )
        command = launch.command(options, step.name, config.profile, more=[*tracer.arguments(), "--out", str(out)])
        if self.mode == "subprocess":
            processes.run(context, command, self.stall_seconds)
        else:
            self._train_in_pod(
                context, options.gpus, ["python" if word == sys.executable else word for word in command]
            )
        return read_lineage(out)

    def _train_in_pod(self, context: dg.AssetExecutionContext, gpus: int, command: list[str]) -> None:
        from dagster_k8s import PipesK8sClient

        pod = self.pod or Pod()
        if gpus > pod.gpus:
            raise dg.Failure(f"launch.gpus is {gpus}, and the pod has {pod.gpus}; set gpus of the trainer's pod")
        PipesK8sClient().run(
            context=context,
            image=pod.image,
            namespace=pod.namespace,
            command=processes.supervised(command, self.stall_seconds, interpreter="python"),
            base_pod_spec=pod.spec(),
        )

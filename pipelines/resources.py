"""What the assets are given: the configuration of a run, and who trains."""

from __future__ import annotations

import sys
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from pipelines import dead_runs, processes
from tracer.config import Config, load
from tracer.flow import FlowStep
from tracer.lineage.step import read_lineage
from tracer.training import launch

GPU = "gpu"
"""The pool of the steps that run a model."""
GPU_TAGS = {"dagster-k8s/config": {"container_config": {"resources": {"limits": {"nvidia.com/gpu": "1"}}}}}


class Tracer(dg.ConfigurableResource[Any]):
    """The profile and seed of a run, as ``tracer --profile P --seed N --set KEY=VALUE`` takes them."""

    profile: str | None = None
    """A profile of params.yaml; None takes the one it names."""
    seed: int | None = None
    overrides: list[str] = Field(default=[])
    """``dotted.key=value`` each."""

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
        return load(self.profile, [*self.overrides, *seed])

    def arguments(self) -> list[str]:
        """The same configuration as arguments of the ``tracer`` command, which follow ``--profile``."""
        overrides = [argument for override in self.overrides for argument in ("--set", override)]
        return ["--seed", str(self.config().seed), *overrides]


class Trainer(dg.ConfigurableResource[Any]):
    """Where training runs. Everywhere it is the same step, so its outputs and digests are the same."""

    mode: Literal["subprocess", "in_process", "kubernetes"] = "subprocess"
    """A process of its own through Dagster Pipes; this process; or a pod through Dagster Pipes."""
    stall_seconds: int = 3600
    """How long a process may say nothing before it is taken for stuck and ended; the retry resumes it."""
    image: str = "tracer:gpu"
    """The image of the pod."""
    namespace: str = "tracer"
    gpus: int = 1
    """GPUs of the pod."""
    volume_claim: str = "tracer-work"
    """The volume that runs share (infra/k8s/volume.yaml), mounted where the image's `build` leads."""

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
        elif options.gpus > self.gpus:
            raise dg.Failure(f"launch.gpus is {options.gpus}, and the pod has {self.gpus}; set the trainer's gpus")
        else:
            self._pod(context, ["python" if word == sys.executable else word for word in command])
        return read_lineage(out)

    def _pod(self, context: dg.AssetExecutionContext, command: list[str]) -> None:
        from dagster_k8s import PipesK8sClient

        PipesK8sClient().run(
            context=context,
            image=self.image,
            namespace=self.namespace,
            command=processes.supervised(command, self.stall_seconds, interpreter="python"),
            base_pod_spec=self.pod_spec(),
        )

    def pod_spec(self) -> dict[str, Any]:
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
            "volumes": [{"name": "work", "persistent_volume_claim": {"claim_name": self.volume_claim}}],
        }

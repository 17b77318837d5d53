"""What the assets are given: the configuration of a run, and who trains."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from pydantic import Field

from pipelines import dead_runs, processes
from tracer.capacity import pods
from tracer.config import PARAMS, Config, load, profiles
from tracer.flow import FlowStep, Kind
from tracer.lineage.step import read_lineage
from tracer.training import launch

GPU = "gpu"
"""The pool of the steps that run a model."""
GPU_TAGS = {"dagster-k8s/config": pods.tags()}
"""For Dagster's executor of a pod a step; the pods of ``Trainer`` are made of the same."""
MODELS_RUN: tuple[Kind, ...] = ("train", "offline", "online")


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
    """The pods that models run in."""

    gpus: int | None = None
    """By default as many as the profile trains on, and one to evaluate; 0 in a cluster without any."""
    image: str = pods.IMAGE
    namespace: str = pods.NAMESPACE
    volume: str = pods.VOLUME


class Trainer(dg.ConfigurableResource[Any]):
    """Where models run. Everywhere it is the same step, so its outputs and digests are the same."""

    mode: Literal["subprocess", "in_process", "kubernetes"] = "subprocess"
    """Training in a process of its own through Dagster Pipes, and the rest in this process; all of it in this process;
    or all of it in pods through Dagster Pipes."""
    stall_seconds: int = 3600
    """How long a process may say nothing before it is taken for stuck and ended; the retry resumes it."""
    pod: Pod | None = Field(default=None, description="The pods of the mode kubernetes.")

    def run(self, context: dg.AssetExecutionContext, tracer: Tracer, step: FlowStep) -> dict[str, Any]:
        """Run a step; return the lineage of its folder."""
        config = tracer.config()
        context.log.info(step.about)  # in a terminal the only sign of life of a step that takes minutes
        trains, out = step.kind == "train", step.out(config)
        if self.mode == "in_process" or not (trains or (self.mode == "kubernetes" and step.kind in MODELS_RUN)):
            done: dict[str, Any] = step.run(config)
            return done
        if found := step.current(config):
            return found  # without the time that a process or a pod takes to start
        more, options = [*tracer.arguments(), "--out", str(out)], config.launch
        if trains and options.nodes > 1:
            where = f"{step.name} --profile {config.profile}"
            raise dg.Failure(
                f"{step.name} trains on {options.nodes} machines, which Dagster does not start: run `tracer manifest "
                f"{where} | kubectl apply -f -`, or `sbatch infra/accelerate/slurm.sbatch {step.name} "
                f"{config.profile}`, and materialize again; it is found finished"
            )
        command = (
            launch.command(options, step.name, config.profile, more=more)
            if trains
            else [sys.executable, "-m", "tracer", *step.command.split(), "--profile", config.profile, *more]
        )
        if self.mode == "subprocess":
            processes.run(context, command, self.stall_seconds)
        else:
            self._run_in_pod(context, config, options.gpus if trains else 1, command, out)
        return read_lineage(out)

    def _run_in_pod(
        self, context: dg.AssetExecutionContext, config: Config, gpus: int, command: list[str], out: Path
    ) -> None:
        from pipelines.pod import run  # Kubernetes' client takes half a second to import
        from tracer.capacity.jobset import host_memory

        pod = self.pod or Pod()
        gpus = gpus if pod.gpus is None else pod.gpus
        words = ["python" if word == sys.executable else word for word in command]
        supervised = processes.supervised(words, self.stall_seconds, interpreter="python")
        spec = pods.spec(gpus, host_memory(config, max(1, gpus)), pod.image, supervised, pod.volume)
        run(context, spec, pod.namespace, str(out))

"""The JobSet of a stage: a pod a machine, started and ended together (https://jobset.sigs.k8s.io, v1alpha2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tracer.capacity import memory, pods
from tracer.capacity.plan import base_shape
from tracer.config import Config
from tracer.stages import STAGES
from tracer.training.launch import command, vllm_server
from tracer.training.settings import LaunchConfig
from tracer.training.stage import Stage

RANK, ADDRESS = "NODE_RANK", "POD_ADDRESS"
RESTARTS = 10
REPORTED = (1, 2)
"""Codes of errors that would come again; every other end continues from the last checkpoint."""
HOST_GIGABYTES = 6.0
"""Of a machine's memory for each process: Python, torch, and the pictures of a batch. Not measured."""


def jobset(
    config: Config, stage: Stage, weights: Path, gpus: int, image: str, more: Sequence[str] = ()
) -> dict[str, Any]:
    """The manifest of ``tracer train STAGE`` on as many machines as ``launch`` says, each with ``gpus`` GPUs.

    ``weights`` is the folder that a vLLM server begins with, ``more`` are further arguments of the command. Raises
    ``ConfigError`` for a base whose shape is not known.
    """
    options, launch = stage.options(config), config.launch
    name = f"tracer-{config.profile}-seed{config.seed}-{stage.name}".replace("_", "-").lower()
    served = options.rollouts == "vllm_server"
    if served:
        more = [*more, "--set", f"launch.vllm_host={_host(name, 'vllm')}"]
    words = command(_meeting(launch, name), stage.name, config.profile, more=more)
    if "--machine_rank" in words:
        words[words.index("--machine_rank") + 1] = f"$({RANK})"
    jobs = [_job("trainer", launch.nodes, gpus, image, ["python", *words[1:]], host_memory(config, launch.gpus))]
    if served:
        width = "bfloat16" if options.bf16 else "float32"
        here = launch.model_copy(update={"vllm_host": f"$({ADDRESS})"})
        serve = vllm_server(here, weights, memory.longest(config), width)
        several = launch.vllm_tensor_parallel
        jobs.append(_job("vllm", 1, several, image, serve, host_memory(config, several)))
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name, "namespace": pods.NAMESPACE, "labels": {**pods.LABELS}},
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True},
            "successPolicy": {"operator": "All", "targetReplicatedJobs": ["trainer"]},
            "failurePolicy": {
                "maxRestarts": RESTARTS,
                "rules": [{"name": "reported", "action": "FailJobSet", "onJobFailureReasons": ["PodFailurePolicy"]}],
            },
            "ttlSecondsAfterFinished": 86400,
            "replicatedJobs": jobs,
        },
    }


def host_memory(config: Config, processes: int) -> float:
    """Gigabytes that a machine needs beside its GPUs': one copy of the weights, in the type that they are trained in.

    Raises ``ConfigError`` for a base whose shape is not known.
    """
    shape, _ = base_shape(config)
    whole = any(stage.options(config).lora is None for stage in STAGES)
    return HOST_GIGABYTES * processes + shape.parameters * (4 if whole else 2) / memory.GIGA


def _host(name: str, job: str) -> str:
    """The name that JobSet gives the first pod of a job."""
    return f"{name}-{job}-0-0.{name}"


def _meeting(launch: LaunchConfig, name: str) -> LaunchConfig:
    return launch.model_copy(update={"main_address": _host(name, "trainer")}) if launch.nodes > 1 else launch


def _job(name: str, nodes: int, gpus: int, image: str, words: list[str], gigabytes: float) -> dict[str, Any]:
    """A job of one pod a machine. Any pod's end ends the job, and the set starts again: ranks cannot be replaced."""
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    env = [{"name": variable, "valueFrom": {"fieldRef": {"fieldPath": path}}}
           for variable, path in ((RANK, index), (ADDRESS, "status.podIP"))]  # fmt: skip
    pod = pods.spec(gpus, memory=gigabytes, image=image, args=words, env=env)
    codes = {"containerName": pods.CONTAINER, "operator": "In", "values": list(REPORTED)}
    return {
        "name": name,
        "replicas": 1,
        "template": {
            "spec": {
                "parallelism": nodes,
                "completions": nodes,
                "completionMode": "Indexed",
                "backoffLimit": 0,
                "podFailurePolicy": {
                    "rules": [  # the first that fits: a launcher that was evicted ends with 1, too
                        {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                        {"action": "FailJob", "onExitCodes": codes},
                    ]
                },
                "template": {"metadata": {"labels": {**pods.LABELS}}, "spec": pod},
            }
        },
    }

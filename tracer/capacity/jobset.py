"""The JobSet of a stage: a pod a machine, started and ended together (https://jobset.sigs.k8s.io, v1alpha2)."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from tracer import package_data
from tracer.capacity import memory, pods
from tracer.capacity.plan import base_shape
from tracer.config import Config
from tracer.stages import STAGES
from tracer.training.launch import command, vllm_server
from tracer.training.stage import Stage

FROM = {
    "NODE_RANK": "metadata.annotations['batch.kubernetes.io/job-completion-index']",
    "POD_ADDRESS": "status.podIP",
}
"""What a pod is told of itself, by variable; Kubernetes replaces `$(VARIABLE)` in its command."""
LONGEST = 63 - len("-trainer-0-999-abcde")
"""Letters that JobSet's own names of pods, and thereby of hosts, leave to that of the set."""
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
    document: dict[str, Any] = yaml.safe_load(package_data.read("capacity/jobset.yaml"))
    name = named(f"tracer-{config.profile}-seed{config.seed}-{stage.name}")
    document["metadata"] |= {"name": name, "labels": {**pods.LABELS}}
    jobs = document["spec"]["replicatedJobs"]
    if options.rollouts == "vllm_server":
        more = [*more, "--set", f"launch.vllm_host={_host(name, 'vllm')}"]
        here = launch.model_copy(update={"vllm_host": "$(POD_ADDRESS)"})
        words = vllm_server(here, weights, memory.longest(config), "bfloat16" if options.bf16 else "float32")
        held = host_memory(config, launch.vllm_tensor_parallel)
        jobs.append({**copy.deepcopy(jobs[0]), "name": "vllm"})
        _fill(jobs[1], 1, pods.spec(launch.vllm_tensor_parallel, held, image, words))
    meeting = launch.model_copy(update={"main_address": _host(name, "trainer")}) if launch.nodes > 1 else launch
    words = ["python", *command(meeting, stage.name, config.profile, more=more)[1:]]
    if "--machine_rank" in words:
        words[words.index("--machine_rank") + 1] = "$(NODE_RANK)"
    _fill(jobs[0], launch.nodes, pods.spec(gpus, host_memory(config, launch.gpus), image, words))
    return document


def named(name: str) -> str:
    """A name as Kubernetes takes it for hosts; one that has to change ends in its digest, and is no other's."""
    plain = re.sub(r"[^a-z0-9-]", "-", name.lower())
    if plain == name and len(name) <= LONGEST:
        return name
    return f"{plain[: LONGEST - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


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


def _fill(job: dict[str, Any], machines: int, pod: dict[str, Any]) -> None:
    pod["containers"][0]["env"] += [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in FROM.items()
    ]
    template = {"metadata": {"labels": {**pods.LABELS}}, "spec": pod}
    job["template"]["spec"] |= {"parallelism": machines, "completions": machines, "template": template}

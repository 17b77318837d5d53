"""How a stage is started on several processes: the `accelerate launch` command that a configuration means.

The files of infra/accelerate say how weights are sharded; how many machines and processes there are comes from the
configuration's section ``launch``, and each machine's own rank from the command that starts it there.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tracer.settings import ConfigError
from tracer.training.settings import LaunchConfig

FOLDER = Path("infra") / "accelerate"


def config_file(launch: LaunchConfig) -> Path:
    """The accelerate configuration of a strategy."""
    if launch.strategy == "fsdp2":
        return FOLDER / ("fsdp2-many-nodes.yaml" if launch.nodes > 1 else "fsdp2-one-node.yaml")
    return FOLDER / {"single": "single.yaml", "cpu": "cpu-2.yaml", "zero3": "zero3-one-node.yaml"}[launch.strategy]


def command(launch: LaunchConfig, stage: str, profile: str, rank: int = 0, more: Sequence[str] = ()) -> list[str]:
    """The command for the machine of ``rank``; ``more`` are further arguments of `tracer train`.

    One process needs no launcher. Raises ``ConfigError`` for a rank that is none of the nodes'.
    """
    train = ["tracer", "train", stage, "--profile", profile, *more]
    if not 0 <= rank < launch.nodes:
        raise ConfigError(f"rank {rank} is none of {launch.nodes} nodes, which count from 0")
    if launch.strategy == "single":
        return [sys.executable, "-m", *train]
    options = {
        "config_file": config_file(launch),
        "num_machines": launch.nodes,
        "num_processes": launch.processes,
        "machine_rank": rank,
        "main_process_ip": launch.main_address,
        "main_process_port": launch.main_port,
    }
    return [sys.executable, "-m", "accelerate.commands.launch", *_flags(options), "-m", *train]


def vllm_server(launch: LaunchConfig, model: Path, length: int, dtype: str) -> list[str]:
    """The command of the vLLM server that rollouts 'vllm_server' ask, on a machine that does not train.

    Weights and caches are set through vLLM's development endpoints, which have no key: the server listens on
    ``launch.vllm_host`` alone, never on every interface. Log-probabilities are those that tokens were sampled with.
    """
    options = {
        "host": launch.vllm_host,
        "port": launch.vllm_port,
        "dtype": dtype,
        "tensor-parallel-size": launch.vllm_tensor_parallel,
        "max-model-len": length,
        "logprobs-mode": "processed_logprobs",
        "max-logprobs": -1,
        "weight-transfer-config": json.dumps({"backend": "nccl"}),
    }
    # What prompts with pictures are asked through is off without the last one.
    return ["env", "VLLM_SERVER_DEV_MODE=1", "vllm", "serve", str(model), *_flags(options), "--enable-scale-out"]


def _flags(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def shown(arguments: Sequence[str]) -> str:
    """A command as one types it."""
    return shlex.join(["python" if argument == sys.executable else argument for argument in arguments])

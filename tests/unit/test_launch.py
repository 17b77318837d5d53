"""Launching on several processes: the command, and files that accelerate itself reads."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from trl.scripts.vllm_serve import ScriptArguments, build_command

from tracer.config import load
from tracer.settings import ConfigError
from tracer.training import launch
from tracer.training.settings import LaunchConfig

STRATEGIES = [
    LaunchConfig(strategy="single"),
    LaunchConfig(strategy="cpu", gpus=2),
    LaunchConfig(strategy="fsdp2", gpus=8),
    LaunchConfig(strategy="fsdp2", nodes=4, gpus=8),
    LaunchConfig(strategy="zero3", gpus=8),
]


@pytest.mark.parametrize("options", STRATEGIES)
def test_every_strategy_has_a_file_that_accelerate_reads(options: LaunchConfig) -> None:
    from accelerate.commands.config.config_args import ClusterConfig

    path = launch.config_file(options)
    read = ClusterConfig.from_yaml_file(yaml_file=str(path))  # refuses unknown keys
    expected = {"single": "NO", "cpu": "MULTI_GPU", "fsdp2": "FSDP", "zero3": "DEEPSPEED"}
    assert str(read.distributed_type).removeprefix("DistributedType.") == expected[options.strategy]
    if options.strategy == "fsdp2":
        assert yaml.safe_load(path.read_text())["fsdp_config"]["fsdp_version"] == 2


def test_the_command_is_one_that_accelerate_parses() -> None:
    from accelerate.commands.launch import launch_command_parser

    options = LaunchConfig(strategy="fsdp2", nodes=4, gpus=8, main_address="10.0.0.1", main_port=1234)
    command = launch.command(options, "stage1", "qwen3vl-32b", rank=3, more=["--seed", "1"])
    after = command.index("accelerate.commands.launch") + 1
    parsed = launch_command_parser().parse_args(command[after:])
    assert (parsed.num_machines, parsed.num_processes, parsed.machine_rank) == (4, 32, 3)
    assert (parsed.main_process_ip, parsed.main_process_port) == ("10.0.0.1", 1234)
    assert parsed.module and parsed.training_script == "tracer"
    assert parsed.training_script_args == ["train", "stage1", "--profile", "qwen3vl-32b", "--seed", "1"]
    assert Path(parsed.config_file) == Path("infra/accelerate/fsdp2-many-nodes.yaml")


def test_one_process_needs_no_launcher() -> None:
    assert (
        launch.shown(launch.command(LaunchConfig(), "stage2", "tiny")) == "python -m tracer train stage2 --profile tiny"
    )


def test_a_rank_beyond_the_nodes_is_refused() -> None:
    with pytest.raises(ConfigError, match="count from 0"):
        launch.command(LaunchConfig(), "stage1", "tiny", rank=1)


def test_the_vllm_server_reads_whole_prompts_and_is_open_to_the_trainer_alone() -> None:
    config = load("qwen3vl-32b", ["launch.vllm_host=10.0.0.2"])
    command = launch.vllm_server(config.launch, Path("base/model"), 10240, "bfloat16")
    assert command[:5] == ["env", "VLLM_SERVER_DEV_MODE=1", "vllm", "serve", "base/model"]
    options = dict(zip(command[5:-1:2], command[6::2], strict=False))
    assert (options["--max-model-len"], options["--dtype"]) == ("10240", "bfloat16")
    assert options["--host"] == "10.0.0.2"
    # What TRL's own command sets for its trainers is set here too.
    theirs = build_command(ScriptArguments(model="base/model"))
    for name in ("--weight-transfer-config", "--logprobs-mode", "--max-logprobs"):
        assert options[name] == theirs[theirs.index(name) + 1]
    assert "0.0.0.0" not in launch.vllm_server(LaunchConfig(), Path("base/model"), 10, "float32")

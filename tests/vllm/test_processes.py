"""Two processes train, each with an engine that samples from what is trained: weights whole (DDP), sharded (FSDP2)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.services import free_port
from tests.vllm.test_colocated import CLOSE, ROOT, apart, configured, history
from tracer.training import launch
from tracer.training.settings import LaunchConfig

pytestmark = pytest.mark.vllm


@pytest.mark.parametrize("lora", [None, {"rank": 4, "alpha": 8}])
@pytest.mark.parametrize("strategy", ["cpu", "fsdp2"])
def test_every_process_samples_from_what_is_trained(
    tmp_path: Path, llama: Path, shards: Path, strategy: str, lora: dict[str, int] | None
) -> None:
    options = LaunchConfig.model_validate({"strategy": strategy, "gpus": 2, "main_port": free_port()})
    config = configured(llama, tmp_path, image=False, lora=lora, groups=4).model_copy(update={"launch": options})
    (tmp_path / "config.json").write_text(config.model_dump_json(by_alias=True), encoding="utf-8")
    file = yaml.safe_load((ROOT / launch.config_file(options)).read_text(encoding="utf-8"))
    file |= {"num_processes": 2, "mixed_precision": "no", "main_process_ip": "127.0.0.1"}
    file["main_process_port"] = options.main_port
    if strategy == "fsdp2":
        file["fsdp_config"]["fsdp_transformer_layer_cls_to_wrap"] = "LlamaDecoderLayer"
    (tmp_path / "launch.yaml").write_text(yaml.safe_dump(file), encoding="utf-8")
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "launch.yaml")]
    command += ["tests/vllm/processes.py", str(tmp_path / "config.json"), str(shards)]
    # The sampler is compiled even so, after looking for what the compiler can do, which takes longer than the rest.
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (".", os.environ.get("PYTHONPATH"))))
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=500)
    assert done.returncode == 0, done.stderr[-9000:]
    first, second = (history(config.out(stage)) for stage in ("stage1", "stage2"))
    assert max(*apart(first), *apart(second)) < CLOSE
    assert any(entry["grad_norm"] > 0 for entry in first)

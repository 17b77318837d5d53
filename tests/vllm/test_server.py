"""A vLLM server: rollouts are asked of it, and forecasts. On a CPU it takes new weights as a file, for want of NCCL."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from trl.generation.vllm_client import VLLMClient

from tests.integration.test_served import healthy
from tests.services import free_port
from tests.vllm.test_colocated import CLOSE, STALE, apart, configured, train
from tracer import planner
from tracer.config import Config
from tracer.dataset import read
from tracer.examples import examples
from tracer.planner import address
from tracer.planner.settings import PlannerConfig
from tracer.planner.transformers import TransformersPlanner
from tracer.training.launch import vllm_server
from tracer.training.settings import LaunchConfig
from tracer.training.trl.vllm import Generation

pytestmark = pytest.mark.vllm


@contextmanager
def serving(model: Path, log: Path) -> Iterator[LaunchConfig]:
    """The server that a dry run prints the command of, but for the transfer of weights; where it is."""
    launch = LaunchConfig(vllm_port=free_port())
    command = vllm_server(launch, model, 800, "float32")
    transfer = command.index("--weight-transfer-config")
    del command[transfer : transfer + 2]
    command[command.index("vllm")] = str(Path(sys.executable).with_name("vllm"))
    command += ["--enforce-eager", "--skip-mm-profiling", "--worker-extension-cls", "tests.vllm.unpacked.Unpacked"]
    with open(log, "w", encoding="utf-8") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            deadline = time.monotonic() + 500
            while not healthy(launch.vllm_port):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")[-3000:]
                time.sleep(0.5)
            yield launch
        finally:
            process.terminate()


@pytest.fixture
def weights_by_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's client refuses to send weights from a CPU; here it leaves a file, and the server reads it."""
    folder = tmp_path / "weights"
    folder.mkdir()

    def update(self: VLLMClient, metadata: Any, weights: Any) -> None:
        save_file(
            {name: weight.detach().contiguous().clone() for name, weight in weights}, folder / "model.safetensors"
        )
        request = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        self.session.post(f"{self.base_url}/collective_rpc", json=request).raise_for_status()

    monkeypatch.setattr(VLLMClient, "init_communicator", lambda self, device: None)
    monkeypatch.setattr(VLLMClient, "update_named_params", update)


def sampled(curve: list[dict[str, float]]) -> list[tuple[float, ...]]:
    """What was sampled. Its log-probabilities differ in their last bits: requests arrive in other batches each time."""
    return [(entry["reward"], entry["completions/mean_length"], entry["dead_groups"]) for entry in curve]


def asking(launch: LaunchConfig, base: Path, out: Path, **changes: Any) -> Config:
    config = configured(base, out, rollouts="vllm_server", **changes)
    return config.model_copy(update={"launch": launch})


@pytest.mark.usefixtures("weights_by_file")
def test_rollouts_of_a_server(tmp_path: Path, llama: Path, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(llama / "model", tmp_path / "log") as launch:
        curves = [train(asking(launch, llama, tmp_path / name, image=False), shards) for name in ("one", "again")]
        assert max(apart(curves[0])) < CLOSE
        assert sampled(curves[0]) == sampled(curves[1])
        adapter = asking(launch, llama, tmp_path / "lora", image=False, lora={"rank": 4, "alpha": 8})
        assert max(apart(train(adapter, shards))) < CLOSE
        monkeypatch.setattr(Generation, "sync_weights", lambda self: None)
        assert max(apart(train(asking(launch, llama, tmp_path / "stale", image=False), shards))) > STALE


@pytest.mark.usefixtures("weights_by_file")
def test_rollouts_of_a_server_that_is_shown_pictures(tmp_path: Path, qwen: Path, shards: Path) -> None:
    with serving(qwen / "model", tmp_path / "log") as launch:
        curves = [train(asking(launch, qwen, tmp_path / name, image=True), shards) for name in ("one", "again")]
        assert max(apart(curves[0])) < CLOSE
        assert sampled(curves[0]) == sampled(curves[1])


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_a_served_planner_answers_as_the_one_in_this_process(
    tmp_path: Path, shards: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    model = request.getfixturevalue(kind) / "model"
    shown = [example.state for split in ("train", "test") for example in examples(read(shards, split=split), 2)]
    expected = [TransformersPlanner.load(model).forecast([state], horizon=2)[0].text for state in shown]
    with serving(model, tmp_path / "log") as launch:
        config = PlannerConfig(image=kind == "qwen", horizon=2, max_new_tokens=16)
        name = f"openai:http://127.0.0.1:{launch.vllm_port}#{model}"
        served = planner.load(address.folder(name, config, tmp_path))
        plans = served.forecast(shown, horizon=2)
        sampled = [[each.text for each in served.forecast(shown, 2, attempt=attempt)] for attempt in (1, 1, 2)]
    assert [plan.text for plan in plans] == expected
    assert all(plan.tokens > 0 for plan in plans)
    assert sampled[0] == sampled[1] != sampled[2]

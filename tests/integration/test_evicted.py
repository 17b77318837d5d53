"""A stage in a pod whose node is drained, as Dagster runs it in a cluster: the next pod ends in the same bytes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest

from tests.cluster import Cluster, serving
from tracer.lineage.step import read_lineage

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("happens", ["drained", "gone"])
def test_an_evicted_stage_goes_on_in_another_pod(happens: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.definitions import defs

    for name in ("params.yaml", "data", "data.dvc"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    monkeypatch.setattr("pipelines.pod.POLL_SECONDS", 0.2)
    calm = [sys.executable, "-m", "tracer", "train", "stage1", "--profile", "micro", "--set", "build=calm"]
    subprocess.run([*calm, "--set", "stage1.steps=4"], check=True, capture_output=True)

    def strike() -> None:
        while not Path("pods/micro/seed0/stage1/checkpoints/checkpoint-1").exists():
            time.sleep(0.01)
        getattr(cluster, happens)(cluster.made[0])

    settings = ["build=pods", "stage1.steps=4", "registry.enabled=false"]
    config = {
        "resources": {
            "tracer": {"config": {"profile": "micro", "settings": settings}},
            "trainer": {"config": {"mode": "kubernetes"}},
        }
    }
    with dg.DagsterInstance.ephemeral() as instance, serving(Cluster(tmp_path), tmp_path / "kubeconfig") as cluster:
        threading.Thread(target=strike, daemon=True).start()
        chosen = [dg.AssetKey("trajectories"), dg.AssetKey("stage1")]
        result = defs.resolve_job_def("retrain").execute_in_process(
            instance=instance, run_config=config, asset_selection=chosen
        )
        assert result.success
        first, second = cluster.made
        assert ("ended by SIGTERM" in "\n".join(line for _, line in first.lines)) == (happens == "drained")
        assert not cluster.pods
    there, here = (read_lineage(Path(build) / "micro" / "seed0" / "stage1") for build in ("calm", "pods"))
    assert (here["digest"], here["output"]) == (there["digest"], there["output"])
    weights = [Path(build) / "micro/seed0/stage1/model/model.safetensors" for build in ("calm", "pods")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert second.labels == first.labels

"""When retraining starts by itself: a new pin starts one run, new raw episodes are pinned once they have settled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipelines.assets.data import observed, raw_episodes, trajectories
from pipelines.resources import Tracer
from pipelines.sensors import data_pinned, episodes_arrived
from tracer.lineage.pins import dvc_md5

ROOT = Path(__file__).parents[2]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "page.jsonl").write_text("{}\n")
    pin(dvc_md5(Path("data")))
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def pin(md5: str) -> None:
    Path("data.dvc").write_text(json.dumps({"outs": [{"md5": md5, "path": "data"}]}))


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"tracer": Tracer(profile="micro")})
    found = sensor(context)
    return found if isinstance(found, dg.SensorResult) else dg.SensorResult(skip_reason=found)


def test_a_new_pin_starts_one_run_and_is_observed(instance: dg.DagsterInstance) -> None:
    first = dvc_md5(Path("data"))
    assert [run.run_key for run in tick(data_pinned, instance).run_requests or ()] == [first]
    assert observed(instance, raw_episodes.key) == first
    made = dg.AssetMaterialization(asset_key=trajectories.key, metadata={"dvc_md5": first})
    instance.report_runless_asset_event(made)
    assert not tick(data_pinned, instance).run_requests
    pin("f" * 32 + ".dir")
    assert [run.run_key for run in tick(data_pinned, instance).run_requests or ()] == ["f" * 32 + ".dir"]
    assert observed(instance, raw_episodes.key) == "f" * 32 + ".dir"


def test_new_episodes_are_pinned_when_they_have_settled(instance: dg.DagsterInstance) -> None:
    first = tick(episodes_arrived, instance)
    settled = tick(episodes_arrived, instance, first.cursor)
    assert not first.run_requests and not settled.run_requests, "nothing is new yet"
    Path("data/raw/new.jsonl").write_text("{}\n")
    changing = tick(episodes_arrived, instance, settled.cursor)
    assert not changing.run_requests, "it may be a copy in progress"
    arrived = tick(episodes_arrived, instance, changing.cursor)
    assert [run.run_key for run in arrived.run_requests or ()] == [dvc_md5(Path("data"))]
    pin(dvc_md5(Path("data")))
    assert not tick(episodes_arrived, instance, arrived.cursor).run_requests

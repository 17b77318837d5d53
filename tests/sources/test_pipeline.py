"""The assets of the published data sets: parts, the whole, and a failed part run again alone."""

import dagster as dg
import pytest

from pipelines import sources as module
from pipelines.sources import PARTITIONS, PARTS, WHOLES, Sources, assets, checks, source_parts
from tests.sources.writers import agentnet, android_control
from tracer import dataset
from tracer.ingestion.parts import parts_of

SECOND = "android_control-00001-of-00002"


@pytest.fixture
def place(tmp_path):
    android_control.write(tmp_path / "raw/android_control")
    return Sources(root=str(tmp_path / "raw"), out=str(tmp_path / "out"))


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def run(instance, place, *selected, part=None, raises=True):
    names = [each.key for each in selected]
    # Dagster wants every asset of a run to be partitioned alike, which parts and wholes are not.
    chosen = [each for each in (*assets, *checks) if isinstance(each, dg.AssetChecksDefinition) or each.key in names]
    chosen = [each for each in chosen if not isinstance(each, dg.AssetChecksDefinition) or _checks(each, names)]
    return dg.materialize(
        chosen, instance=instance, resources={"sources": place}, partition_key=part, raise_on_error=raises
    )


def _checks(check, names):
    return all(key.asset_key in names for key in check.check_keys)


def ingest_all(instance, place, name="android_control"):
    names = parts_of(name, place.path(name), {})
    instance.add_dynamic_partitions(PARTITIONS[name].name, names)
    for part in names:
        assert run(instance, place, PARTS[name], part=part).success
    return run(instance, place, WHOLES[name])


def version(result, asset):
    (event,) = [each for each in result.get_asset_materialization_events() if each.asset_key == asset.key]
    return event.materialization.tags["dagster/data_version"]


def test_definitions_hold_an_asset_of_parts_and_one_whole_a_source():
    names = {key.to_user_string() for asset in assets for key in asset.keys}
    sources = {"agentnet", "android_control", "gui_odyssey", "mind2web", "agenttrek", "mm_traj", "bfcl", "agentdojo"}
    assert names == sources | {f"{name}_parts" for name in sources} | {"mixture"}
    dg.Definitions.validate_loadable(
        dg.Definitions(
            assets=assets,
            asset_checks=checks,
            sensors=module.sensors,
            resources={"sources": Sources(), "tracer": module.Tracer()},
        )
    )


def test_parts_are_joined_and_counted(instance, place):
    result = ingest_all(instance, place)
    assert len(list(dataset.read(place.folder("android_control")))) == 6
    (evaluation,) = result.get_asset_check_evaluations()
    assert not evaluation.passed  # six episodes are not the published 15,283: reported, and nothing stopped
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert result.success


def test_a_failed_part_is_run_again_alone(instance, place):
    names = parts_of("android_control", place.path("android_control"), {})
    instance.add_dynamic_partitions(PARTITIONS["android_control"].name, names)
    shard = place.path("android_control") / SECOND
    good = shard.read_bytes()
    shard.write_bytes(good[:-100])
    parts = PARTS["android_control"]
    assert run(instance, place, parts, part=names[0]).success
    assert not run(instance, place, parts, part=names[1], raises=False).success
    assert not run(instance, place, WHOLES["android_control"], raises=False).success  # a part is missing
    shard.write_bytes(good)
    assert run(instance, place, parts, part=names[1]).success
    materialised = instance.get_materialized_partitions(parts.key)
    assert materialised == set(names)


def test_a_changed_shard_gives_a_new_data_version(instance, place):
    before = version(ingest_all(instance, place), WHOLES["android_control"])
    assert version(ingest_all(instance, place), WHOLES["android_control"]) == before
    episodes = [android_control.record(android_control.example(android_control.episode(id))) for id in (5, 2)]
    android_control.write_shard(place.path("android_control") / SECOND, episodes)
    assert version(ingest_all(instance, place), WHOLES["android_control"]) != before


def test_the_sensor_lists_new_parts_once(instance, place):
    agentnet.write(place.path("agentnet"))
    context = dg.build_sensor_context(instance=instance)
    result = source_parts(context, sources=place)
    assert [request.partition_key for request in result.run_requests] == [
        "agentnet_ubuntu_5k.jsonl@00000",
        "agentnet_win_mac_18k.jsonl@00000",
        "android_control-00000-of-00002",
        "android_control-00001-of-00002",
    ]
    for request in result.dynamic_partitions_requests:
        instance.add_dynamic_partitions(request.partitions_def_name, request.partition_keys)
    again = source_parts(context, sources=place)
    assert not again.run_requests
    assert "mind2web" in again.skip_reason.skip_message

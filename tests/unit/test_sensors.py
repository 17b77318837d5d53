"""When things start by themselves: arrivals are judged once settled, and retraining follows decisions, not md5s."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from pipelines import attempts as attempts_module
from pipelines import sensors
from pipelines.assets.data import observed, raw_episodes
from pipelines.assets.registry import champion
from pipelines.attempts import FIRST_WAIT_SECONDS, MOST, attempts
from pipelines.resources import Tracer
from pipelines.sensors import data_arrived, data_pinned, watch
from tests.folders import Chain

ROOT = Path(__file__).parents[2]
A, B = "a" * 32 + ".dir", "b" * 32 + ".dir"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    pin(A)
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def alerted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    sent: list[tuple[str, str]] = []
    monkeypatch.setattr(sensors.alerts, "send", lambda kind, text: sent.append((kind, text)))
    return sent


def pin(md5: str) -> None:
    Path("data.dvc").write_text(json.dumps({"outs": [{"md5": md5, "path": "data"}]}))


def tick(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None, profile: str = "demo"
) -> dg.SensorResult:
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"tracer": Tracer(profile=profile)})
    found = sensor(context)
    return found if isinstance(found, dg.SensorResult) else dg.SensorResult(skip_reason=found)


def asked(result: dg.SensorResult) -> list[dg.RunRequest]:
    return list(result.run_requests or ())


def started(
    instance: dg.DagsterInstance, request: dg.RunRequest, status: dg.DagsterRunStatus, job: str = "retrain"
) -> Any:
    return create_run_for_test(instance, job_name=job, tags=dict(request.tags), status=status)


def decided(instance: dg.DagsterInstance, md5: str, profile: str = "demo", **more: str) -> None:
    metadata = {"outcome": "promoted", "data": md5, "profile": profile, "seed": "0", **more}
    instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=champion.key, metadata=metadata))


def retrained(instance: dg.DagsterInstance) -> str:
    """What one tick asks for, run to its decision; the run's key."""
    (request,) = asked(tick(data_pinned, instance))
    started(instance, request, dg.DagsterRunStatus.SUCCESS)
    decided(instance, request.tags["tracer/data"])
    assert not asked(tick(data_pinned, instance)), "it is decided"
    return str(request.run_key)


def test_a_then_b_then_a_again_asks_for_three_runs(instance: dg.DagsterInstance) -> None:
    keys = []
    for md5 in (A, B, A):
        pin(md5)
        keys.append(retrained(instance))
        assert observed(instance, raw_episodes.key) == md5
    assert len(set(keys)) == 3


def test_another_daemon_or_a_restarted_one_asks_for_the_same_key(
    instance: dg.DagsterInstance,
) -> None:
    first, second = (asked(tick(data_pinned, instance))[0].run_key for _ in range(2))
    assert first == second


def test_a_micro_run_and_another_seed_decide_nothing(instance: dg.DagsterInstance) -> None:
    decided(instance, A, profile="micro")
    decided(instance, A, seed="1")
    instance.report_runless_asset_event(dg.AssetMaterialization(asset_key=champion.key, metadata={"skipped": "micro"}))
    assert asked(tick(data_pinned, instance))
    decided(instance, A)
    decided(instance, B, profile="micro")
    assert not asked(tick(data_pinned, instance))
    assert "does not register" in str(tick(data_pinned, instance, profile="micro").skip_reason)


def test_ten_batches_during_a_run_cause_one_more(instance: dg.DagsterInstance) -> None:
    (request,) = asked(tick(data_pinned, instance))
    run = started(instance, request, dg.DagsterRunStatus.STARTED)
    for number in range(10):
        pin(f"{number:032}.dir")
        result = tick(data_pinned, instance)
        assert not asked(result) and "is under way" in str(result.skip_reason)
    instance.report_run_canceled(run)
    decided(instance, A)
    assert retrained(instance).startswith(f"{9:032}.dir/after-")
    assert not asked(tick(data_pinned, instance))


def test_a_failed_retraining_is_tried_again_later_each_time_and_then_given_up(
    instance: dg.DagsterInstance, alerted: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, cursor = [], None
    for number in range(MOST):
        monkeypatch.setattr(attempts_module, "FIRST_WAIT_SECONDS", 0)
        (request,) = asked(tick(data_pinned, instance))
        keys.append(request.run_key)
        started(instance, request, dg.DagsterRunStatus.FAILURE)
        monkeypatch.setattr(attempts_module, "FIRST_WAIT_SECONDS", FIRST_WAIT_SECONDS)
        result = tick(data_pinned, instance, cursor)
        assert not asked(result)
        if number < MOST - 1:
            wait = FIRST_WAIT_SECONDS * 2**number / 60
            assert f"the next is in {wait:.0f} minutes" in str(result.skip_reason) and not alerted
    assert len(set(keys)) == MOST and "runs came to nothing" in str(result.skip_reason)
    tick(data_pinned, instance, result.cursor)
    assert [kind for kind, _ in alerted] == ["retraining given up"], "once"
    pin(B)
    assert asked(tick(data_pinned, instance, result.cursor)), "other data is tried"


def test_the_wait_doubles(instance: dg.DagsterInstance) -> None:
    import time

    request = dg.RunRequest(tags={attempts_module.ABOUT: "x"})
    started(instance, request, dg.DagsterRunStatus.FAILURE)
    now = time.time()
    assert not attempts(instance, "retrain", "x", now + FIRST_WAIT_SECONDS * 0.9).run_key
    assert attempts(instance, "retrain", "x", now + FIRST_WAIT_SECONDS * 1.1).run_key == "x/2"
    started(instance, request, dg.DagsterRunStatus.FAILURE)
    assert not attempts(instance, "retrain", "x", now + FIRST_WAIT_SECONDS * 1.9).run_key
    assert attempts(instance, "retrain", "x", now + FIRST_WAIT_SECONDS * 2.1).run_key == "x/3"


def test_what_a_person_cancelled_is_not_started_again(instance: dg.DagsterInstance) -> None:
    (request,) = asked(tick(data_pinned, instance))
    started(instance, request, dg.DagsterRunStatus.CANCELED)
    result = tick(data_pinned, instance)
    assert not asked(result) and "launch it by hand" in str(result.skip_reason)


def test_an_arrival_is_judged_once_it_has_settled(instance: dg.DagsterInstance) -> None:
    assert not asked(tick(data_arrived, instance))
    Path("inbox/monday/train").mkdir(parents=True)
    Path("inbox/monday/train/page.jsonl").write_text("{}\n")
    Path("inbox/refused/other").mkdir(parents=True)
    first = tick(data_arrived, instance)
    assert not asked(first) and "is changing" in str(first.skip_reason)
    Path("inbox/monday/train/page.jsonl").write_text("{}\n{}\n")
    changed = tick(data_arrived, instance, first.cursor)
    assert not asked(changed), "it may be a copy in progress"
    (request,) = asked(tick(data_arrived, instance, changed.cursor))
    assert request.run_config == {"ops": {"judge": {"config": {"path": "inbox/monday"}}}}
    assert asked(tick(data_arrived, instance, changed.cursor))[0].run_key == request.run_key
    started(instance, request, dg.DagsterRunStatus.STARTED, job="add_batch")
    assert not asked(tick(data_arrived, instance, changed.cursor))
    Path("inbox/tuesday").mkdir()
    two = tick(data_arrived, instance, changed.cursor)
    assert len(asked(tick(data_arrived, instance, two.cursor))) == 1, "the others do not wait for it"


def test_what_is_stale_or_broken_is_alerted_once(
    instance: dg.DagsterInstance, alerted: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"stale champion": ("stale", "champion is old")}
    monkeypatch.setattr(sensors, "wrong", lambda instance, config: iter(found.items()))
    result = tick(watch, instance)
    tick(watch, instance, result.cursor)
    assert alerted == [("stale", "champion is old")]
    found.clear()
    right = tick(watch, instance, result.cursor)
    found["stale champion"] = ("stale", "champion is old again")
    tick(watch, instance, right.cursor)
    assert [text for _, text in alerted] == ["champion is old", "champion is old again"]


def test_a_champion_older_than_its_policy_is_stale_and_a_damaged_record_broken(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster._core.definitions.freshness import FreshnessState, FreshnessStateChange

    from tracer.registry import record

    whole = record.Record(entries=(), damage={})
    monkeypatch.setattr(record, "read", lambda config: whole)
    config = Tracer(profile="demo").config()
    assert not list(sensors.wrong(instance, config))
    for key, state in ((champion.key, FreshnessState.FAIL), (sensors.trajectories.key, FreshnessState.WARN)):
        instance.report_runless_asset_event(
            FreshnessStateChange(
                key=key, new_state=state, previous_state=FreshnessState.PASS, state_change_timestamp=1.0
            )
        )
    ((name, (kind, text)),) = sensors.wrong(instance, config)
    assert (name, kind) == ("stale champion", "stale") and "older than its freshness policy" in text
    whole = record.Record(entries=(), damage={"version 3": "its decision.json was changed"})
    broken = dict(sensors.wrong(instance, config))["broken version 3"]
    assert broken[0] == "record broken" and "tracer history --repair" in broken[1]


def test_a_decision_says_what_it_was_on_and_a_new_refusal_is_alerted_once(
    instance: dg.DagsterInstance, alerted: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.assets import registry
    from tracer.registry.record import Decision

    config = Tracer(profile="demo").config()
    Chain(config)  # which has an ingested folder
    decision = Decision(
        outcome="refused", model="tracer-planner", version=2, incumbent="1", champion=1, checks=(), reason="no better",
        digest="d", previous="", decided="2026-11-30T05:00:00+00:00", by="somebody",
    )  # fmt: skip
    later = replace(decision, decided="2026-12-07T05:00:00+00:00")
    for found in (decision, decision, later):  # the second run finds the first one's decision
        monkeypatch.setattr(registry, "PROMOTE", replace(registry.PROMOTE, make=lambda *_, found=found: found))
        result = dg.materialize([champion], instance=instance, resources={"tracer": Tracer(profile="demo")})
        assert result.success
    assert [kind for kind, _ in alerted] == ["challenger refused"] * 2 and "no better" in alerted[0][1]
    assert sensors.last_decision(instance, config)[1] == "not pinned"


def test_a_failed_run_is_alerted_with_its_errors(instance: dg.DagsterInstance, alerted: list[tuple[str, str]]) -> None:
    @dg.op
    def breaks() -> None:
        raise ValueError("the disk is full")

    @dg.job
    def one() -> None:
        breaks()

    result = one.execute_in_process(instance=instance, raise_on_error=False)
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failed",
        dagster_instance=instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
    ).for_run_failure()
    sensors.run_failed(context)
    ((kind, text),) = alerted
    assert kind == "run failed" and "the disk is full" in text and result.run_id in text

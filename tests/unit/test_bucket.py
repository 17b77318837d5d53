"""An inbox in S3: the same guarantees as a folder's, against a real endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from s3fs import S3FileSystem

from pipelines.jobs import add_batch
from pipelines.resources import Tracer
from pipelines.sensors import data_arrived
from tests import services
from tests.unit.test_batches import arrives, checkout, commits, config, ids, made  # noqa: F401
from tracer.batches import arrival, bucket, inbox
from tracer.batches.verdict import REPORT
from tracer.cli import main
from tracer.lineage.digest import LineageError
from tracer.settings import ConfigError

pytestmark = pytest.mark.usefixtures("checkout")
INBOX = f"s3://{services.BUCKET}/inbox"


class Killed(BaseException):
    """As if the process had been killed there."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[dict[str, str]]:
    with services.s3() as environment:
        yield environment


@pytest.fixture
def store(endpoint: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The bucket, emptied, and the environment in which it is found."""
    for name, value in endpoint.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # with which it would go on asking an endpoint of another test
    found = boto3.resource("s3").Bucket(services.BUCKET)
    found.objects.all().delete()
    yield found


def uploaded(store: Any, name: str, numbers: range, change: Callable[[dict[str, Any]], None] = lambda one: None) -> str:
    """Episodes in the bucket's inbox, of which the local folder is gone."""
    folder = arrives(name, numbers, change)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            store.upload_file(str(path), f"inbox/{name}/{path.relative_to(folder).as_posix()}")
            path.unlink()
    return f"{INBOX}/{name}"


def keys(store: Any) -> set[str]:
    return {each.key.removeprefix("inbox/") for each in store.objects.all()}


def test_an_arrival_becomes_one_batch_and_moves_beside_its_report(store: Any) -> None:
    address = uploaded(store, "monday", range(40, 48))
    before = {name.removeprefix("monday/") for name in keys(store)}
    assert inbox.arrivals(config(inbox=INBOX)) == [address]
    verdict = arrival.add(config(inbox=INBOX), address)
    assert verdict.accepted and verdict.arrived == address, str(verdict)
    assert commits() == [f"data: add batch {verdict.batch}, 8 episodes of jsonl", "work"] and len(ids()) == 32
    place = f"accepted/{verdict.batch}"
    assert keys(store) == {f"{place}/{REPORT}", f"{place}/drift.png", *(f"{place}/monday/{name}" for name in before)}
    assert inbox.arrivals(config(inbox=INBOX)) == [] and not list(Path("build/batches/fetched").iterdir())
    ((folder, report),) = inbox.reports(config(inbox=INBOX))
    assert folder == f"{INBOX}/{place}" and report["accepted"]
    again = uploaded(store, "tuesday", range(40, 48))  # the same files under another name
    assert arrival.add(config(inbox=INBOX), again).known and len(commits()) == 2
    with pytest.raises(ConfigError, match="is no folder"):
        arrival.add(config(inbox=INBOX), again)


def test_a_refused_one_is_kept_with_its_report_and_added_from_there(
    store: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdict = arrival.add(config(inbox=INBOX), uploaded(store, "few", range(40, 43)))
    place = f"refused/{verdict.batch}"
    assert not verdict.accepted and commits() == ["work"] and f"{place}/{REPORT}" in keys(store)
    settings = ["--set", f"batches.inbox={INBOX}", "--set", "registry.tracking_uri=sqlite:///none.db"]
    assert main(["data", "list", *settings]) == 0
    assert f"{verdict.batch}  refused: new episodes" in capsys.readouterr().out
    assert main(["data", "show", verdict.batch, *settings]) == 0
    assert f"{INBOX}/{place}" in capsys.readouterr().out
    few = ["--set", "batches.min_episodes=3"]
    assert main(["data", "add", f"{INBOX}/{place}/few", *settings, *few]) == 0
    assert len(commits()) == 2 and all(name.startswith(f"accepted/{verdict.batch}/") for name in keys(store))


@pytest.mark.parametrize("at", ["cp_file", "rm_file", "pipe_file", "put_file"])
def test_a_killed_command_is_completed_by_the_next(
    store: Any,
    monkeypatch: pytest.MonkeyPatch,
    at: str,
) -> None:
    settings, address = config(inbox=INBOX), uploaded(store, "monday", range(40, 48))
    arrived = sorted(keys(store))
    assert len(arrived) > 1
    files = bucket._store(INBOX)[0]
    real = getattr(files, at)

    def die(*words: Any, **more: Any) -> None:
        """Before the report or the note is written, or after the first object of many was copied or removed."""
        if at in ("cp_file", "rm_file"):
            real(*words, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(files, at, die)
        with pytest.raises(Killed):
            arrival.add(settings, address)
    arrival.finish(settings)
    if inbox.waits(address):
        arrival.add(settings, address)
    assert len(commits()) == 2 and len(ids()) == 32 and inbox.arrivals(settings) == []
    ((folder, _),) = inbox.reports(settings)
    moved = {f"{folder.removeprefix(f'{INBOX}/')}/{name}" for name in arrived}
    assert moved <= keys(store) and all(name.startswith("accepted/") for name in keys(store))


def test_what_is_uploaded_meanwhile_is_not_lost(store: Any) -> None:
    address = uploaded(store, "monday", range(40, 48))
    local, objects = bucket.fetched(address, Path("build/fetched"))
    uploaded(store, "monday", range(50, 58))
    assert bucket.listing(address) != objects
    bucket.move(INBOX, address, objects, f"{INBOX}/accepted/one/monday")
    left = bucket.listing(address)
    assert left and not any(objects.get(name) == mark for name, mark in left.items())
    assert inbox.arrivals(config(inbox=INBOX)) == [address] and local.is_dir()


def test_a_name_that_leads_elsewhere_is_refused(store: Any, tmp_path: Path) -> None:
    store.put_object(Key="inbox/evil/../../../up.jsonl", Body=b"{}")
    with pytest.raises(LineageError, match="leads elsewhere"):
        bucket.fetched(f"{INBOX}/evil", tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists() and not list(tmp_path.rglob("up.jsonl"))


def test_the_sensor_watches_it_and_the_job_judges(store: Any) -> None:
    address = uploaded(store, "monday", range(40, 48))
    resource = Tracer(settings=["registry.tracking_uri=sqlite:///mlflow.db", f"batches.inbox={INBOX}"])
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None = None) -> dg.SensorResult:
            context = dg.build_sensor_context(instance=instance, cursor=cursor, resources={"tracer": resource})
            found = data_arrived(context)
            assert isinstance(found, dg.SensorResult)
            return found

        first = tick()
        assert not first.run_requests
        (request,) = tick(first.cursor).run_requests or []
        assert request.run_config == {"ops": {"judge": {"config": {"path": address}}}}
        for _ in range(2):  # the second finds it decided on
            done = add_batch.execute_in_process(
                instance=instance, run_config=request.run_config, resources={"tracer": resource}
            )
            assert done.success and len(commits()) == 2
        assert not tick(first.cursor).run_requests

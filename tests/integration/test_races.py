"""Two people, or a person and the schedule, register, promote and roll back at the same moment."""

from __future__ import annotations

import multiprocessing
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import services
from tests.folders import STATES, Chain
from tracer.config import Config
from tracer.lineage.digest import content_digest
from tracer.registry import gc, promotion, record, register, tracking, verify, versions

POLICY = Path(__file__).parents[2] / "mlflow" / "promotion.yaml"
ONLINE = [1.0, 0.0] * 12
RIGHT = [1.0] * STATES
SPAWN = multiprocessing.get_context("spawn")
SLOW = [pytest.mark.slow, pytest.mark.timeout(4 * 3600)]
# Of the decisions and of the registrations: where the registry is, and how often they race.
RACES = [("sqlite", 1), pytest.param("sqlite", 100, marks=SLOW), pytest.param("postgres", 20, marks=SLOW)]


def config_of(address: str, profile: str) -> Config:
    registry = {"tracking_uri": address, "policy": str(POLICY), "keep_stale_days": 0}
    return Config.model_validate({"profile": profile, "data": {"pointer": ""}, "registry": registry})


def register_it(config: Config, turn: int) -> int:
    number = 2 * turn + (config.profile == "b")
    return register.register(config, config.out("stage2"), Chain(config).stage2(number, RIGHT, ONLINE)).version


def promote_it(config: Config, turn: int) -> int:
    chain = Chain(config)
    return promotion.promote(
        config, chain.base([0.0] * STATES, ONLINE), chain.ingest, again=True, reason="race"
    ).version


def roll_back(config: Config, turn: int) -> int:
    try:
        return promotion.rollback(config.registry, f"turn {turn}").version
    except versions.RegistryError as error:
        assert "first champion" in str(error)  # the other was slower, or the last turn went back that far
        return 0


def collect(config: Config, turn: int) -> int:
    gc.collect(config)
    return 0


def race(connection: Any, folder: Path, address: str, profile: str, start: Any) -> None:
    """A process that does what it is sent, at the same moment as the other one."""
    os.chdir(folder)
    config = config_of(address, profile)
    tracking.connect(config.registry).search_experiments()
    for job, turn in iter(connection.recv, None):
        start.wait(timeout=300)
        try:
            connection.send(job(config, turn))
        except Exception as error:
            connection.send(f"{type(error).__name__}: {error}")


Run = Callable[..., list[Any]]


@pytest.fixture
def address(tmp_path: Path, store: str) -> Iterator[str]:
    """A new registry: a database file, or MLflow's server over PostgreSQL and S3."""
    if store == "sqlite":
        yield f"sqlite:///{tmp_path}/mlflow.db"
        return
    with services.postgres("mlflow") as at, services.s3() as environment:
        database = f"postgresql+psycopg2://{at['user']}:{at['password']}@{at['host']}:{at['port']}/mlflow"
        with services.mlflow_server(database, environment, tmp_path / "mlflow.log") as server:
            yield server


@pytest.fixture
def racers(tmp_path: Path, address: str) -> Iterator[Run]:
    start, pipes, processes = SPAWN.Barrier(2), [], []
    tracking.connect(config_of(address, "a").registry).search_experiments()
    for profile in ("a", "b"):
        ours, theirs = SPAWN.Pipe()
        processes.append(SPAWN.Process(target=race, args=(theirs, tmp_path, address, profile, start)))
        processes[-1].start()
        pipes.append(ours)

    def run(*jobs: Callable[[Config, int], int], turn: int) -> list[Any]:
        for pipe, job in zip(pipes, jobs, strict=True):
            pipe.send((job, turn))
        return [pipe.recv() for pipe in pipes]

    yield run
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.mark.parametrize(("store", "rounds"), RACES)
def test_decisions_that_race_leave_one_record_and_one_champion(address: str, racers: Run, rounds: int) -> None:
    config = config_of(address, "a").registry
    first = racers(register_it, register_it, turn=0)
    assert set(first) == {1, 2}, first
    assert sorted(racers(promote_it, promote_it, turn=0)) == [1, 2]
    for turn in range(rounds):
        for other in (promote_it, roll_back):
            before = len(promotion.history(config))
            found = racers(promote_it, other, turn=turn)
            assert all(isinstance(each, int) for each in found), found
            whole = record.settle(config)
            assert versions.version_of("tracer-planner@champion", config).version == whole.champion
            # Nobody's decision is lost, unless it was no decision: there was nothing to do, or nobody to go back to.
            assert before <= len(whole.decisions) <= before + 2
            assert [each.previous for each in whole.decisions[1:]] == [each.fingerprint for each in whole.entries[:-1]]


@pytest.mark.parametrize(("store", "rounds"), RACES)
def test_registrations_that_race_make_a_version_each(address: str, racers: Run, rounds: int) -> None:
    for turn in range(rounds):
        found = racers(register_it, register_it, turn=turn)
        assert set(found) == {2 * turn + 1, 2 * turn + 2}, found
    client = tracking.connect(config_of(address, "a").registry)
    runs = client.search_runs([client.get_experiment_by_name("tracer").experiment_id], max_results=10_000)
    assert all(run.info.status == "FINISHED" for run in runs)


@pytest.mark.parametrize(("store", "rounds"), RACES[:2])
def test_gc_takes_nothing_from_a_registration_beside_it(address: str, racers: Run, rounds: int) -> None:
    for turn in range(rounds):
        assert racers(register_it, collect, turn=turn) == [turn + 1, 0]
    findings = verify.verify(config_of(address, "a"))
    assert len([each for each in findings if each.ok and each.name.startswith("version ")]) == rounds
    assert [each for each in findings if not each.ok] == []


def test_a_rollback_takes_seconds_and_is_seen_by_who_holds_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("profile: a\nprofiles: {a: {}}\n")
    config = config_of(f"sqlite:///{tmp_path}/mlflow.db", "a")
    held = []
    for turn, right in enumerate(([1.0, 0.0] * (STATES // 2), RIGHT)):
        register.register(config, config.out("stage2"), Chain(config).stage2(turn, right, ONLINE))
        promote_it(config, turn)
        held.append(content_digest(versions.model("tracer-planner@champion", config.registry)))
    assert held[0] != held[1]
    command = [sys.executable, "-m", "tracer", "rollback", "--reason", "worse"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--set", f"registry.tracking_uri={config.registry.tracking_uri}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The processor's time: how long it waits for a busy machine is not its doing.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
    assert content_digest(versions.model("tracer-planner@champion", config.registry)) == held[0]

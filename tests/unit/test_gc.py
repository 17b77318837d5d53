"""`tracer gc` removes what nobody needs; what a registered version or a running step needs stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from pipelines import retention
from pipelines.attempts import ABOUT, MOST, attempts
from tests import checkouts
from tests.folders import Chain, step
from tracer import cli
from tracer.config import Config
from tracer.json_files import write_json
from tracer.lineage.digest import LINEAGE, STARTED, tree_digest
from tracer.lineage.pins import pinned_md5
from tracer.lineage.step import locked
from tracer.registry import gc, storage, tracking, verify, versions


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two champions, of which the second was made of other data; the first one's folders are set aside."""
    root = tmp_path_factory.mktemp("collected") / "checkout"
    with checkouts.retrained(root):
        for name in ("stage1", "stage2"):
            (checkouts.config().out(name) / "checkpoints" / "checkpoint-1").mkdir(parents=True)
            (checkouts.config().out(name) / "checkpoints" / "checkpoint-1" / "optimizer.pt").write_bytes(b"x" * 1000)
    return root


@pytest.fixture
def checkout(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return checkouts.copied(original, tmp_path / "team", monkeypatch)


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is to be removed there: each time takes seconds."""
    monkeypatch.setattr(gc, "_registry", lambda config, dry_run: ())


def config(days: float = 0.0) -> Config:
    found = checkouts.config()
    return found.model_copy(update={"registry": found.registry.model_copy(update={"keep_stale_days": days})})


def whole() -> list[str]:
    return [finding.detail for finding in verify.verify(checkouts.config()) if not finding.ok]


def test_a_dry_run_names_what_would_go_and_removes_nothing(checkout: Path) -> None:
    kept = [Path(name) for name in ("build", "mlartifacts", ".dvc/cache", "data")]
    before = [tree_digest(folder) for folder in kept]
    found = gc.collect(config(), dry_run=True)
    kinds = {each.what for each in found}
    assert {"checkpoints of a finished step", "set aside"} <= kinds
    assert [tree_digest(folder) for folder in kept] == before
    done = gc.collect(config())
    assert {(each.what, each.where) for each in done if each.what in kinds and "DVC" not in each.what} == {
        (each.what, each.where) for each in found if "DVC" not in each.what
    }


def test_what_versions_need_stays(checkout: Path) -> None:
    removed = gc.collect(config())
    assert sum(each.size for each in removed) >= 2000
    assert whole() == []
    assert not list(Path("build").rglob("checkpoints/*")) and not list(Path("build").rglob(".stale/*"))
    for number in (1, 2):
        assert versions.model(f"tracer-planner/{number}", config().registry).is_dir()
    assert all(storage.cached(md5) for md5 in versions.data_of(versions.every(config().registry)))
    assert gc.collect(config()) == []


def test_what_was_set_aside_lately_stays(checkout: Path) -> None:
    gc.collect(config(days=7))
    assert list(Path("build").rglob(".stale/*"))


@pytest.mark.usefixtures("empty_registry")
def test_the_work_on_a_batch_goes_unless_somebody_is_at_it(checkout: Path) -> None:
    """Each arrival leaves its shards there, and a copy of the champion's data."""
    done, busy = (checkouts.config().folder.parents[1] / "batches" / name for name in ("1f0c2ab94e7d", "9a7e31c0b2d4"))
    for folder in (done, busy):
        (folder / "champion-1").mkdir(parents=True)
        (folder / "champion-1" / "episodes.jsonl").write_bytes(b"x" * 1000)
    gc.collect(config(days=7))
    assert done.is_dir()
    with locked(busy):
        removed = [each for each in gc.collect(config()) if each.what == "work on a batch"]
    assert [(each.where, each.size) for each in removed] == [(str(done), 1000)]
    assert not done.exists() and busy.is_dir()


@pytest.mark.usefixtures("empty_registry")
def test_what_a_running_step_writes_or_reads_stays(checkout: Path) -> None:
    """Its own folder by the lock; its inputs, wherever they are, by what it was started with."""
    settings = config()
    aside = next(path for path in Path("build").rglob(".stale/*") if path.name.startswith("stage1"))

    def killed(folder: Path) -> dict[str, Any]:
        raise KeyboardInterrupt

    from tracer.lineage.step import run_step

    with pytest.raises(KeyboardInterrupt):
        run_step("evaluate", config={}, inputs={"model": aside}, out=Path("build/now"), module="tracer.json_lines",
                 body=killed)  # fmt: skip
    with locked(Path("build/now")), locked(settings.out("stage2")):
        gc.collect(settings)
        assert aside.is_dir() and Path("build/now", STARTED).is_file()
        assert (settings.out("stage2") / "checkpoints").is_dir()
        assert not (settings.out("stage1") / "checkpoints").exists()
    assert {each.what for each in gc.collect(settings)} >= {"left unfinished"}
    assert not Path("build/now").exists()
    gc.collect(settings)
    assert not aside.exists()


@pytest.mark.usefixtures("empty_registry")
def test_a_step_that_finishes_just_before_its_folder_is_removed_keeps_it(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gone = Path("build/now"), Path("build/moved")
    for folder in (begun, gone):
        folder.mkdir()
        (folder / STARTED).write_text('{"digest": "1", "inputs": {}}')

    @contextmanager
    def last_moment(out: Path) -> Iterator[None]:
        if out == begun:
            (begun / STARTED).rename(begun / LINEAGE)
        if out == gone:
            shutil.rmtree(gone)
        yield

    monkeypatch.setattr(gc, "locked", last_moment)
    assert not {each.where for each in gc.collect(config())} & {str(begun), str(gone)}
    assert (begun / LINEAGE).is_file()


def test_data_goes_from_the_cache_if_a_remote_has_it_and_no_version_was_made_of_it(checkout: Path) -> None:
    def pinned(text: str, push: bool) -> str:
        Path("data/raw/episodes.jsonl").write_text(text)
        checkouts.dvc("add", "--quiet", "data")
        if push:
            checkouts.dvc("push", "--quiet")
        checkouts.commit()
        return pinned_md5(Path("data.dvc"))

    pushed, kept, last = pinned("{}\n" * 3, True), pinned("{}\n" * 4, False), pinned("{}\n" * 5, False)
    gc.collect(config())
    assert not storage.cached(pushed) and storage.cached(kept) and storage.cached(last)
    assert all(storage.cached(md5) for md5 in versions.data_of(versions.every(config().registry)))


WATCHED = """
import os, signal
from pathlib import Path
from tests import checkouts
from tracer.registry import live
from tracer.training import stage1
config = checkouts.config()
config = config.model_copy(update={"launch": config.launch.model_copy(update={"report_to": ["mlflow"]})})
live.watched(config, stage1.STAGE, lambda out: os.kill(os.getpid(), signal.SIGKILL))(Path("training"))
"""


def killed_while_watched(client: Any) -> tuple[str, dict[str, str]]:
    """Kill a stage that MLflow watches; the experiment, and the status that each run is to have in the end."""
    Path("training").mkdir()
    write_json(Path("training", STARTED), {"digest": "d" * 64, "inputs": {"trajectories": {"digest": "t" * 64}}})
    env = {**os.environ, "PYTHONPATH": str(checkouts.ROOT)}
    died = subprocess.run([sys.executable, "-c", WATCHED], env=env, capture_output=True, encoding="utf-8")
    assert died.returncode == -signal.SIGKILL, died.stderr
    where = client.get_experiment_by_name("tracer-live").experiment_id
    found = {run.info.run_id: run.info.status for run in client.search_runs([where])}
    assert list(found.values()) == ["RUNNING"] * 2, "the stage's run, and that of its chain"
    alive = [client.create_run(where, tags={tracking.WRITER: name}) for name in (tracking.writer(1), "elsewhere/1/1")]
    return where, dict.fromkeys(found, "KILLED") | {run.info.run_id: "RUNNING" for run in alive}


def test_runs_that_were_killed_or_deleted_go_and_those_that_are_written_stay(checkout: Path) -> None:
    client = tracking.connect(config().registry)
    experiment = client.get_experiment_by_name("tracer").experiment_id
    killed = client.create_run(experiment, tags={tracking.WRITER: "gone/1/1"}, start_time=1).info.run_id
    living = client.create_run(experiment, tags={tracking.WRITER: tracking.writer(1)}).info.run_id
    folder = Path("mlartifacts/tracer") / killed / "artifacts"
    folder.mkdir(parents=True)
    (folder / "half").write_bytes(b"x" * 5000)
    stage, others = killed_while_watched(client)
    left = {finding.detail for finding in verify._left_over(client, config().registry, [])}
    assert sum("whose stage was killed" in detail for detail in left) == 2
    gc.collect(config())
    assert {run.info.run_id: run.info.status for run in client.search_runs([stage])} == others
    assert not folder.exists()
    with pytest.raises(tracking.mlflow_error()):
        client.get_run(killed)
    assert client.get_run(living).info.status == "RUNNING"


def test_what_somebody_deleted_and_a_version_needs_is_not_removed_for_good(checkout: Path) -> None:
    client = tracking.connect(config().registry)
    needed = versions.version_of("tracer-planner/1", config().registry).evaluations()["evaluate"]
    client.delete_run(needed)
    with pytest.raises(tracking.RegistryError, match=f"mlflow runs restore --run-id {needed}"):
        gc.collect(config())
    client.restore_run(needed)
    gc.collect(config())
    assert whole() == []


def test_a_folder_that_is_no_checkout_has_its_folders_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Config.model_validate(
        {"profile": "test", "data": {"pointer": ""}, "registry": {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}}
    )
    Chain(settings)
    step("ingest", settings, settings.out("other"), {}, {"checkpoints/a": b"x" * 10})
    (found,) = gc.collect(settings)
    assert found.where == str(settings.out("other") / "checkpoints") and found.size == 10


def test_linked_files_count_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    os.link(tmp_path / "a", tmp_path / "b")
    assert gc.size_of(tmp_path) == 10


@dg.asset
def planner() -> None:
    """Something that a run makes."""


def test_dagsters_old_runs_go_but_for_what_the_assets_show() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        first, second = (dg.materialize([planner], instance=instance).run_id for _ in range(2))
        assert retention.pruned(instance, 30.0, dry_run=False) == []
        assert retention.pruned(instance, 0.0, dry_run=True) == [first]
        assert instance.get_run_by_id(first) is not None
        assert retention.pruned(instance, 0.0, dry_run=False) == [first]
        assert instance.get_run_by_id(first) is None
        event = instance.get_latest_materialization_event(planner.key)
        assert event is not None and event.run_id == second


def test_what_the_sensors_count_is_not_forgotten() -> None:
    """A retraining that was given up is not asked for again because its runs were deleted."""
    with dg.DagsterInstance.ephemeral() as instance:

        def ran(about: str, status: dg.DagsterRunStatus) -> str:
            tags = {ABOUT: about}
            return str(create_run_for_test(instance, job_name="retrain", status=status, tags=tags).run_id)

        failed = [ran("a/after-1", dg.DagsterRunStatus.FAILURE) for _ in range(MOST)]
        cancelled = ran("b/after-2", dg.DagsterRunStatus.CANCELED)
        decided = ran("c/after-3", dg.DagsterRunStatus.SUCCESS)
        undecided = ran("d/after-4", dg.DagsterRunStatus.SUCCESS)
        assert retention.pruned(instance, 0.0, dry_run=False) == [decided]
        assert all(instance.get_run_by_id(run) for run in (*failed, cancelled, undecided))
        assert attempts(instance, "retrain", "a/after-1").given_up
        assert "cancelled" in attempts(instance, "retrain", "b/after-2").reason
        assert "came to nothing; the next is in" in attempts(instance, "retrain", "d/after-4").reason


def test_the_command_says_what_went(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--set",
        f"registry.tracking_uri=sqlite:///{checkout}/mlflow.db",
        "--set",
        "registry.keep_stale_days=0",
    ]
    assert cli.main(["gc", "--dry-run", *arguments]) == 0
    assert "would free" in capsys.readouterr().out and list(Path("build").rglob("checkpoints"))
    assert cli.main(["gc", *arguments]) == 0
    text = capsys.readouterr().out
    assert "checkpoints of a finished step: build/test/seed0/stage1/checkpoints" in text and "freed 0.0 MB" in text
    assert not Path(".dagster").exists()
    shutil.rmtree(".dvc")
    assert cli.main(["gc", *arguments]) == 0

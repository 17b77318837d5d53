"""`tracer verify` finds what is missing, altered or orphaned, each damage by its name, and nothing in what is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import checkouts
from tests.folders import step
from tracer import cli
from tracer.finding import Finding
from tracer.json_files import read_json, write_json
from tracer.lineage.pins import pinned_md5
from tracer.registry import record, storage, tracking, verify, versions


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("verified") / "checkout"
    checkouts.team(root)
    return root


@pytest.fixture
def checkout(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return checkouts.copied(original, tmp_path / "team", monkeypatch)


def faults() -> list[Finding]:
    return [finding for finding in verify.verify(checkouts.config()) if not finding.ok]


def test_nothing_is_found_in_what_is_whole(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert faults() == []
    uri = f"registry.tracking_uri=sqlite:///{checkout}/mlflow.db"
    assert cli.main(["verify", "--set", uri]) == 0
    text = capsys.readouterr().out
    assert "ok   version 1: its files and its 5 runs are as registered" in text
    assert "the remote team has it (version 1)" in text and "finished folders under build" in text


def version() -> versions.Version:
    return versions.version_of("tracer-planner/1", checkouts.config().registry)


def client() -> Any:
    return tracking.connect(checkouts.config().registry)


def artifact(run_id: str, name: str) -> Path:
    (found,) = Path("mlartifacts").glob(f"*/{run_id}/artifacts/{name}")
    return found


def flip_a_byte_of_the_weights() -> None:
    (stored,) = Path("mlartifacts").rglob("model.safetensors")
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")


def lose_the_weights() -> None:
    (stored,) = Path("mlartifacts").rglob("model.safetensors")
    stored.unlink()


def delete_the_run_of_an_evaluation() -> None:
    client().delete_run(version().evaluations()["evaluate"])


def change_a_result() -> None:
    stored = artifact(version().evaluations()["evaluate"], "results.jsonl")
    stored.write_text(stored.read_text().replace("1.0", "0.0", 1))


def lose_a_run_s_files() -> None:
    shutil.rmtree(artifact(version().run_id, "lineage.json").parent)


def change_a_decision() -> None:
    (stored,) = Path("mlartifacts").rglob("decision.json")
    write_json(stored, {**read_json(stored), "reason": "because"})


def move_the_alias() -> None:
    client().delete_registered_model_alias("tracer-planner", record.CHAMPION)


def lose_the_remote() -> None:
    next(path for path in Path("../remote").rglob("*") if path.is_file()).unlink()


def alter_the_cache() -> None:
    listed = storage.listing(pinned_md5(Path("data.dvc")))
    stored = next(path for path in Path(".dvc/cache").rglob("*") if path.is_file() and path.resolve() != listed)
    stored.chmod(0o644)
    stored.write_bytes(b"other")


def leave_a_folder() -> None:
    (Path("mlartifacts") / "tracer" / ("0" * 32) / "artifacts").mkdir(parents=True)


def leave_a_run() -> None:
    found = client()
    found.create_run(found.get_experiment_by_name("tracer").experiment_id, tags={tracking.WRITER: "gone/1/1"},
                     start_time=1)  # fmt: skip


def leave_a_model() -> None:
    found = client()
    experiment = found.get_experiment_by_name("tracer").experiment_id
    found.create_logged_model(experiment, name="planner", source_run_id=version().run_id)


def alter_a_folder() -> None:
    (checkouts.config().out("stage1") / "metrics.jsonl").write_text("{}\n")


DAMAGES: list[tuple[Callable[[], None], str, str]] = [
    (flip_a_byte_of_the_weights, "version 1", "missing or altered: the weights of models:/tracer-planner/1 are not"),
    (lose_the_weights, "version 1", "missing or altered: "),
    (delete_the_run_of_an_evaluation, "version 1", "missing: the run"),
    (change_a_result, "version 1", "altered: the run"),
    (lose_a_run_s_files, "version 1", "missing: the run"),
    (change_a_decision, "record", "altered or missing: version 1"),
    (move_the_alias, "record", "altered: the alias 'champion'"),
    (lose_the_remote, "data", "missing: no DVC remote has all of it (version 1)"),
    (alter_the_cache, "cache", "altered: "),
    (leave_a_folder, "registry", "orphaned: "),
    (leave_a_run, "registry", "orphaned: run "),
    (leave_a_model, "registry", "orphaned: the logged model "),
    (alter_a_folder, "folder", "altered: "),
]


@pytest.mark.parametrize(("damage", "name", "said"), DAMAGES, ids=[each[0].__name__ for each in DAMAGES])
def test_each_damage_is_named_with_a_fix(
    checkout: Path, damage: Callable[[], None], name: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage()
    monkeypatch.setattr(tracking, "LONGEST_WRITE", -60.0)  # what was left now was left long ago
    (found,) = faults()
    assert found.name.startswith(name) and found.detail.startswith(said) and found.fix, found


def test_what_another_process_writes_is_no_orphan(checkout: Path) -> None:
    leave_a_model()
    found = client()
    found.create_run(found.get_experiment_by_name("tracer").experiment_id, tags={tracking.WRITER: tracking.writer(1)})
    assert faults() == []


def test_a_step_outside_of_the_flow_counts_too(checkout: Path) -> None:
    folder = step("other", checkouts.config(), Path("build/other"), {}, {"a.json": {}})
    assert faults() == []
    (folder / "b.json").write_text("{}")
    assert [each.fix for each in faults()] == ["rm -r build/other"]

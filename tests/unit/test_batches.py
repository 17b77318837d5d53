"""New data: accepted as one commit, refused with a report, removed again; against a real git and a real DVC."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.cli import main as dvc_main

from tests.episodes import episode, write_raw
from tracer.batches import arrival, inbox, store
from tracer.batches.verdict import PICTURE
from tracer.cli import main
from tracer.config import Config, load
from tracer.dataset import read
from tracer.ingestion.ingest import ingest, ingest_source
from tracer.ingestion.settings import DataConfig
from tracer.lineage import pins
from tracer.lineage.digest import LineageError, content_digest
from tracer.lineage.pins import check_pin, dvc_md5, pinned_md5
from tracer.settings import ConfigError
from tracer.validation.suite import expectations

SPLITS = ("train", "train", "train", "validation", "test", "heldout")


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()


def dvc(*arguments: str) -> str:
    """DVC itself; where nobody reads what it says, without the seconds that a process takes to import it."""
    if arguments[0] in ("remote", "status"):
        return pins.dvc(*arguments)
    if dvc_main(list(arguments)):
        raise LineageError(f"dvc {' '.join(arguments)} failed")
    return ""


def commits() -> list[str]:
    return run("git", "log", "--format=%s").splitlines()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with parameters, pinned data of 24 episodes and a remote, all of it committed and pushed."""
    root = tmp_path_factory.mktemp("team") / "checkout"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        write_raw(root / "data/raw", [episode(SPLITS[number % 6], number) for number in range(10, 34)])
        Path("params.yaml").write_text(yaml.safe_dump({"profile": "test", "profiles": {"test": None}}))
        Path(".gitignore").write_text("build\ninbox\n.tracer\nmlflow.db\n/data\n")
        run("git", "init", "--quiet")
        run("git", "config", "user.name", "t")
        run("git", "config", "user.email", "t@example.org")
        dvc("init", "--quiet")
        dvc("remote", "add", "--quiet", "--default", "team", "../remote")
        dvc("add", "--quiet", "data")
        dvc("push", "--quiet")
        run("git", "add", "--all")
        run("git", "commit", "--quiet", "--message", "work")
        # What most of these tests let arrive is read and validated once, and found finished afterwards.
        path = arrives("monday", range(40, 48))
        work = Path("build/batches") / content_digest(path)[: arrival.DIGITS]
        ingest_source(DataConfig(path=str(path), pointer=""), work / "ingest")
        arrival._validated(config(), work / "ingest", work / "validate")
        shutil.rmtree("inbox")
    return root.parent


@pytest.fixture
def checkout(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    shutil.copytree(made, tmp_path / "team")
    monkeypatch.chdir(tmp_path / "team/checkout")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for module in (store, arrival):
        monkeypatch.setattr(module, "dvc", dvc)
    yield tmp_path / "team/checkout"


def config(**batches: Any) -> Config:
    return load(
        overrides=["registry.tracking_uri=sqlite:///none.db", *(f"batches.{k}={v}" for k, v in batches.items())]
    )


def arrives(name: str, numbers: range, change: Callable[[dict[str, Any]], None] = lambda one: None) -> Path:
    """Episodes of training in the inbox; ``change`` edits each."""
    every = [episode("train", number) for number in numbers]
    for one in every:
        change(one)
    return write_raw(Path("inbox") / name, every)


def ids() -> set[str]:
    return {trajectory.id for trajectory in store.present(config())}


def test_a_batch_is_one_commit_and_ingested_with_the_rest(checkout: Path) -> None:
    before = pinned_md5(Path("data.dvc"))
    path = arrives("monday", range(40, 48))
    Path("notes.txt").write_text("somebody else's work\n")
    run("git", "add", "notes.txt")
    verdict = arrival.add(config(), path)
    assert verdict.accepted and verdict.splits == {"train": 8}, str(verdict)
    assert commits() == [f"data: add batch {verdict.batch}, 8 episodes of jsonl", "work"]
    assert run("git", "show", "--name-only", "--format=") == "data.dvc"
    assert run("git", "status", "--porcelain") == "A  notes.txt"
    assert check_pin(Path("data"), Path("data.dvc")) != before
    assert json.loads(dvc("status", "--cloud", "--json")) == {}
    done = ingest(config(), checkout / "out")
    assert done["metrics"] == {"trajectories": 32, "steps": 64, "rejected": 0, "dvc_md5": pinned_md5(Path("data.dvc"))}
    arrived = {each.id: each for each in read(checkout / "out") if each.id.endswith("/40")}
    original = next(iter(store.readable(config().data.model_copy(update={"path": f"inbox/accepted/{verdict.batch}"}))))
    assert arrived == {original.id: original}
    assert not path.exists() and (Path("inbox/accepted") / verdict.batch / "monday").is_dir()
    again = arrival.add(config(), Path("inbox/accepted") / verdict.batch / "monday")
    assert again.accepted and again.batch == verdict.batch and len(commits()) == 2


def test_removing_is_a_commit_and_the_same_batch_makes_the_same_data_again(checkout: Path) -> None:
    first = pinned_md5(Path("data.dvc"))
    path = arrives("monday", range(40, 48))
    batch = arrival.add(config(), path).batch
    with_it = pinned_md5(Path("data.dvc"))
    assert main(["data", "remove", batch, "--reason", "recorded on the wrong build"]) == 0
    assert pinned_md5(Path("data.dvc")) == first == dvc_md5(Path("data"))
    assert commits()[0] == f"data: remove batch {batch}" and not list(checkout.glob(".data-*"))
    assert "wrong build" in run("git", "log", "-1", "--format=%b")
    with pytest.raises(ConfigError, match=f"no batch {batch} .* there are: none"):
        arrival.remove(config(), batch, "again")
    assert arrival.add(config(), Path("inbox/accepted") / batch / "monday").accepted
    assert pinned_md5(Path("data.dvc")) == with_it and len(commits()) == 4


def test_what_is_not_asked_of_a_batch_is_in_the_suite() -> None:
    assert {each.name for each in expectations(Config(profile="any"), prompts=False)} > arrival.OF_THE_WHOLE


def test_a_third_of_bad_rows_is_refused_and_kept_with_its_report(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would be one in a hundred of all the data, where they pass."""

    def spoil(one: dict[str, Any]) -> None:
        if one["seed"] % 3 == 0:
            one["steps"][0]["action"] = {"type": "teleport"}

    path = arrives("monday", range(40, 70), spoil)
    assert main(["data", "add", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "refused" in shown and "few records are quarantined" in shown and "unknown action" in shown
    assert commits() == ["work"] and ids() == {f"jsonl/click-two/{number}" for number in range(10, 34)}
    ((where, report),) = inbox.reports(config())
    folder = Path(where)
    assert folder.parent.name == "refused" and not report["accepted"] and (folder / "monday/train").is_dir()
    assert not path.exists()
    assert main(["data", "list"]) == 0 and main(["data", "show", report["batch"]]) == 0
    shown = capsys.readouterr().out
    assert f"{report['batch']}  refused: few records" in shown and "not part of the data" in shown
    accepted = arrival.add(config(max_quarantined=0.5), folder / "monday")
    assert accepted.accepted and accepted.splits == {"train": 20} and not folder.exists()


def test_what_cannot_be_read_at_all_is_refused(checkout: Path) -> None:
    (checkout / "inbox/broken").mkdir(parents=True)
    (checkout / "inbox/broken/a.jsonl").write_text("{")
    verdict = arrival.add(config(), Path("inbox/broken"))
    assert not verdict.accepted and "not one of 1 records was readable" in str(verdict)
    assert (checkout / "inbox/refused" / verdict.batch / "broken/a.jsonl").is_file()
    with pytest.raises(ConfigError, match="no folder"):
        arrival.add(config(), Path("inbox/nothing"))


def test_the_same_episodes_under_new_ids_are_not_new(checkout: Path) -> None:
    def renamed(one: dict[str, Any]) -> None:
        one["id"], one["task"] = f"other/{one['seed']}", "other"
        for step in one["steps"]:
            step["image"] = step["image"].replace("other", "click-two")

    every = [episode("train", number) for number in (12, 13, 14, 18, 19, 20, 40)]
    for one in every:
        renamed(one)
    path = write_raw(Path("inbox/monday"), every)
    verdict = arrival.add(config(), path)
    assert not verdict.accepted and verdict.splits == {"train": 1}
    assert verdict.left_out["other/12"] == "it is jsonl/click-two/12"
    failed = [finding.name for finding in verdict.findings if not finding.ok]
    assert failed == ["new episodes", "repeated episodes"]


def test_repeats_other_splits_states_and_taken_ids_are_left_out(checkout: Path) -> None:
    def shared(one: dict[str, Any]) -> None:
        number = one["seed"]
        if number == 40:  # twice in the batch
            one.update(episode("train", 41), id="again")
        if number == 42:  # another split's goal and screens, other actions
            one.update(episode("train", 16), id="leak", steps=episode("train", 16)["steps"][:1])
        if number == 43:
            one["id"] = "jsonl/click-two/12"

    verdict = arrival.add(config(max_repeated=0.5), arrives("monday", range(40, 52), shared))
    assert verdict.accepted and verdict.splits == {"train": 9}, str(verdict)
    assert set(verdict.left_out.values()) == {
        "it is again", "a state of it is in jsonl/click-two/16, which is test", "another episode has its id",
    }  # fmt: skip
    assert len(ids()) == 33
    ingest(config(), checkout / "out")


def unlike(one: dict[str, Any]) -> None:
    one["goal"] = one["goal"] * 20
    for step in one["steps"]:
        step.update(action={"type": "key", "key": "Enter"}, target=None, instruction="press Enter")


def test_drift_is_refused_and_can_be_allowed(checkout: Path) -> None:
    verdict = arrival.add(config(), arrives("monday", range(40, 50), unlike))
    assert not verdict.accepted and verdict.drifted == ["action_mix", "unknown_targets", "goal_length"]
    assert "the present data (there is no champion)" in str(verdict)
    folder = Path("inbox/refused") / verdict.batch
    assert (folder / PICTURE).read_bytes().startswith(b"\x89PNG")
    allowed = arrival.add(config(), folder / "monday", allow_drift="the keyboard pages begin")
    assert allowed.accepted and "allowed: the keyboard pages begin" in str(allowed)
    assert "allowed: the keyboard pages" in run("git", "log", "-1", "--format=%b")


def test_drift_is_measured_against_what_the_champion_was_trained_on(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not against the data as it is: that moves with every batch."""
    made = {
        "commit": run("git", "rev-parse", "HEAD"),
        "data": {"md5": pinned_md5(Path("data.dvc")), "path": "data/raw"},
    }
    assert arrival.add(config(), arrives("one", range(40, 60), unlike), allow_drift="a trial").accepted
    monkeypatch.setattr(arrival, "_champion", lambda config: made)
    verdict = arrival.add(config(), arrives("two", range(60, 70), unlike))
    assert "goal_length" in verdict.drifted and "from the champion's data" in str(verdict)
    monkeypatch.setattr(arrival, "_champion", lambda config: None)
    assert "goal_length" not in arrival.add(config(), arrives("three", range(70, 80), unlike)).drifted
    lost = {"commit": "f" * 40, "data": {"md5": "gone", "path": "data/raw"}}
    monkeypatch.setattr(arrival, "_champion", lambda config: lost)
    assert "cannot be fetched" in str(arrival.add(config(), arrives("four", range(80, 90), unlike)))


class Killed(BaseException):
    """As if the process had been killed there."""


@pytest.mark.parametrize("at", ["rename", "add", "push", "commit", "put_away"])
def test_a_killed_command_is_completed_by_the_next(checkout: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    path = arrives("monday", range(40, 48))
    real_dvc, real_git = store.dvc, store.git

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        if at == "rename":
            patch.setattr(store.os, "rename", die)
        elif at == "put_away":
            patch.setattr(inbox, "put_away", die)
        elif at == "commit":
            patch.setattr(store, "git", lambda *a, **k: die() if a[0] == "commit" else real_git(*a, **k))
        else:
            patch.setattr(store, "dvc", lambda *a: die() if a[0] == at else real_dvc(*a))
        with pytest.raises(Killed):
            arrival.add(config(), path)
    arrival.finish(config())
    assert not store.PENDING.exists() and not list(checkout.glob(".data-*"))
    assert len(commits()) == 2 and run("git", "status", "--porcelain") == ""
    assert check_pin(Path("data"), Path("data.dvc")) and len(ids()) == 32
    assert json.loads(dvc("status", "--cloud", "--json")) == {}
    assert path.exists(), "nothing is lost"
    verdict = arrival.add(config(), path)
    assert verdict.accepted and len(commits()) == 2 and not path.exists()


def test_two_at_once_and_data_that_somebody_edited_are_refused(checkout: Path) -> None:
    path = arrives("monday", range(40, 48))
    with store.changing(), pytest.raises(LineageError, match="another process is changing the data"):
        arrival.add(config(), path)
    (checkout / "data/raw/train/click-two.jsonl").write_text("")
    with pytest.raises(LineageError, match="the data changed under its pin"):
        arrival.add(config(), path)
    assert path.exists() and commits() == ["work"]


def test_without_git_the_pointer_goes_to_the_remote(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "dvc", pins.dvc)  # as a command of its own, which the others save
    shutil.rmtree(".git")
    dvc("config", "core.no_scm", "true")
    verdict = arrival.add(config(), arrives("monday", range(40, 48)))
    pointer = checkout.parent / "remote/batches" / f"{verdict.batch}.dvc"
    assert f"there is no git checkout here: the pointer is {pointer}" in str(verdict)
    assert pointer.read_bytes() == Path("data.dvc").read_bytes()


def test_the_first_data_of_all_gets_its_pin(checkout: Path) -> None:
    Path("params.yaml").write_text(
        yaml.safe_dump({"profile": "test", "profiles": {"test": {"data": {"path": "episodes"}}}})
    )
    run("git", "commit", "--quiet", "--all", "--message", "our own data")
    verdict = arrival.add(config(), arrives("monday", range(40, 48)))
    assert verdict.accepted, str(verdict)
    assert run("git", "show", "--name-only", "--format=").split() == [".gitignore", "episodes.dvc"]
    assert load().data.pointer == "episodes.dvc"
    assert ingest(config(), checkout / "out")["metrics"]["dvc_md5"] == pinned_md5(Path("episodes.dvc"))


def test_batches_go_to_data_in_our_format_alone(checkout: Path) -> None:
    with pytest.raises(ConfigError, match="batches are kept as jsonl"):
        arrival.add(load(overrides=["data.source=mind2web"]), arrives("monday", range(40, 48)))

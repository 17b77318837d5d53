"""What stands against making a version again, against a real git and a real DVC."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.checkouts import begun, commit, copied, dvc
from tests.folders import Chain, step, weights
from tracer.config import Config, load
from tracer.json_files import read_json, write_json
from tracer.lineage import provenance
from tracer.lineage.pins import pinned_md5
from tracer.lineage.step import SCHEME
from tracer.registry import rebuild, rebuildable
from tracer.registry.register import chain


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rebuilt") / "checkout"
    begun(root)
    return root


@pytest.fixture
def checkout(committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return copied(committed, tmp_path / "team", monkeypatch)


def made(config: Config) -> tuple[dict[str, object], Path]:
    """What the version of a chain of steps would say of its making, and the last step's folder."""
    Chain(config).stage2(1, [1.0], [])
    return rebuild.document(config, chain(config.out("stage2"))), config.out("stage2")


def reasons(config: Config) -> list[str]:
    document, folder = made(config)
    return rebuildable.reasons(config, document, folder)


def test_what_is_committed_and_pushed_can_be_made_again(checkout: Path) -> None:
    assert load().planner.base == "data/base"
    assert reasons(load()) == []
    assert rebuild.steps_to_run(made(load())[0]) == ["ingest", "stage1", "stage2"]
    (checkout / "README.md").write_text("An edit that no step reads.\n")
    (checkout / "tracer" / "action.py").write_text("")
    assert reasons(load()) == []  # the code that runs is imported from elsewhere, and is still the commit's


def test_code_that_is_not_in_the_commit_is_named(checkout: Path) -> None:
    with open(checkout / "tracer" / "json_lines.py", "a") as file:
        file.write("\n# only a comment\n")
    commit()
    assert reasons(load()) == []
    shutil.rmtree("build")
    with open(checkout / "tracer" / "json_lines.py", "a") as file:
        file.write("\nOTHER = 1\n")
    commit()
    found = reasons(load())
    assert len(found) == 1 and "code that is not in commit" in found[0] and "tracer.json_lines" in found[0]


def test_another_lock_and_code_outside_git_are_named(checkout: Path) -> None:
    (checkout / provenance.LOCK).write_text("# nothing is pinned\n")
    assert [each.partition(" than")[0] for each in reasons(load())] == ["its steps had another constraints.txt"]
    shutil.rmtree("build")
    shutil.rmtree(".git")
    assert "the code was in no git checkout" in reasons(load())


def test_a_library_that_is_not_as_the_lock_pins_it_is_named() -> None:
    """By its name as the lock spells it: Jinja2, RapidFuzz, great_expectations."""
    commit = provenance.git_commit()["commit"]
    stored = provenance.committed(commit, [provenance.LOCK])[provenance.LOCK]
    pins = {line.partition("==")[0]: line.partition("==")[2] for line in stored.decode().splitlines()}
    alike = {name: pins[spelt] for name, spelt in (("jinja2", "Jinja2"), ("great-expectations", "great_expectations"))}
    code = {"modules": {}, "files": {}, "libraries": {**alike, "gguf": "absent", "torch": "1.0"}}
    step = {"scheme": SCHEME, "code": code, "lock": hashlib.sha256(stored).hexdigest()}
    assert list(rebuildable._code(commit, [step])) == ["constraints.txt does not pin torch 1.0"]


def test_edited_parameters_are_compared_with_those_of_the_commit(checkout: Path) -> None:
    """Not with themselves: the commands give what the commit does not."""
    params = checkout / "params.yaml"
    params.write_text(params.read_text().replace("steps: 5", "steps: 7"))
    config = load()
    document, _ = made(config)
    assert config.stage1.steps == 7 and document["overrides"] == {"stage1.steps": 7}
    assert reasons(config) == []
    assert "stage1.steps=7" in rebuild.arguments(document, "stage1")
    params.write_text(params.read_text().replace("test", "new"))
    found = reasons(load())
    assert len(found) == 1 and "params.yaml of commit" in found[0] and "has no profile 'new'" in found[0]


def test_data_that_is_pinned_and_not_committed_or_not_pushed_is_named(checkout: Path) -> None:
    (checkout / "data" / "raw" / "more.jsonl").write_text("{}\n")
    dvc("add", "--quiet", "data")
    found = reasons(load())
    assert len(found) == 2
    assert "data.dvc pinned" in found[0] and "and in commit" in found[0]
    assert found[1] == "no DVC remote has all of data.dvc: `dvc push data.dvc`"
    commit()
    shutil.rmtree("build")
    dvc("push", "--quiet")
    assert reasons(load()) == []
    shutil.rmtree(checkout / ".dvc" / "cache")  # the remote alone has it, which is enough
    assert reasons(load()) == []
    dvc("remote", "remove", "team")
    assert reasons(load()) == ["DVC has no remote"]


def test_what_lies_outside_the_pinned_data_is_named(checkout: Path) -> None:
    assert reasons(load(overrides=["planner.base=elsewhere"])) == [
        "stage1 read base (elsewhere), which no step makes and no pinned data contain"
    ]
    base = checkout.parent / "base"
    assert f"planner.base is a place on this machine: {base}" in reasons(load(overrides=[f"planner.base={base}"]))
    found = reasons(load(overrides=['data.pointer=""']))
    assert "its data data/raw are not pinned by DVC" in found
    assert any(each.startswith("ingest read raw (data/raw)") for each in found)


def test_an_adapter_on_unknown_weights_is_named(checkout: Path) -> None:
    config = load()
    document, folder = made(config)
    write_json(folder / "model" / "adapter_config.json", {"r": 4})
    for weights_, revision, unknown in (("", None, True), ("digest", None, False), ("", "commit", False)):
        base = {"id": "somebody/model", "path": "x", "revision": revision, "weights": weights_}
        write_json(folder / "model" / "base.json", base)
        found = rebuildable.reasons(config, document, folder)
        assert found == (["the weights of the adapter's base somebody/model are unknown"] if unknown else [])


def test_a_step_that_no_command_makes_is_named(checkout: Path) -> None:
    config = load(overrides=["planner.base=build/mixed"])
    step("mix", config, Path("build/mixed"), {}, {"model/model.safetensors": weights(3)})
    assert reasons(config)[0].startswith("stage1 read base (build/mixed), which no step makes")


def test_the_md5_is_of_the_data_that_was_ingested(checkout: Path) -> None:
    config = load()
    Chain(config).stage2(1, [1.0], [])
    lineages = chain(config.out("stage2"))
    lineages["ingest"] = {**lineages["ingest"], "metrics": {"dvc_md5": "of then"}}
    assert rebuild.document(config, lineages)["data"]["md5"] == "of then"
    assert read_json(config.out("ingest") / "lineage.json")["git"]["commit"]


def test_data_that_moved_on_between_two_steps_are_those_of_the_commit_that_pins_them(checkout: Path) -> None:
    """A batch arrived while a run was under way: the code is that of the last step, the data those of the first."""
    config = load()
    before, first = pinned_md5(Path("data.dvc")), provenance.git_commit()["commit"]
    (checkout / "data" / "raw" / "more.jsonl").write_text("{}\n")
    dvc("add", "--quiet", "data")
    dvc("push", "--quiet")
    commit()
    _, folder = made(config)
    lineages = chain(folder)
    lineages["ingest"] |= {"git": {"commit": first}, "metrics": {"dvc_md5": before}}
    document = rebuild.document(config, lineages)
    assert document["data"]["md5"] == before != pinned_md5(Path("data.dvc"))
    assert document["data"]["commit"] == first != document["commit"]
    assert rebuildable.reasons(config, document, folder) == []
    commands = rebuild.rebuild_commands(document)
    assert commands[0] == f"git checkout {document['commit']}"
    pin = next(line for line in commands if line.startswith(f"git checkout {first} -- data.dvc"))
    assert commands.index(pin) + 1 == next(n for n, line in enumerate(commands) if line.startswith("dvc pull"))

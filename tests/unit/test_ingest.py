"""The step ``ingest``: shards, quarantine and statistics; pinned data; the same bytes twice."""

import json
from pathlib import Path

import pytest
import yaml

from tests.episodes import episode, sample, write_raw
from tracer.config import Config
from tracer.dataset import read
from tracer.ingestion.ingest import ingest
from tracer.ingestion.quarantine import quarantined
from tracer.lineage.digest import LineageError, finished
from tracer.lineage.pins import dvc_md5
from tracer.registry.step_runs import data_digest
from tracer.sources.source import SourceError


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of six good episodes under data/raw, which nothing pins unless ``pin`` does."""
    monkeypatch.chdir(tmp_path)
    write_raw(tmp_path / "data/raw", sample())
    return tmp_path


def configured(**data) -> Config:
    pinned = {} if "path" in data or Path("data.dvc").is_file() else {"pointer": ""}
    return Config(profile="test", data={**pinned, **data})


def pin(folder: Path) -> Path:
    pointer = folder.with_suffix(".dvc")
    pointer.write_text(yaml.safe_dump({"outs": [{"md5": dvc_md5(folder), "path": folder.name}]}))
    return pointer


def test_shards_quarantine_and_statistics(project):
    broken = sample()
    broken[1]["steps"][0]["action"] = {"type": "teleport"}
    broken[4]["steps"][1]["action"]["x"] = 3.0
    write_raw(project / "data/raw", broken)
    done = ingest(configured(), project / "out")
    assert sorted(path.name for path in (project / "out").glob("*.parquet")) == [
        "heldout-00000.parquet",
        "quarantine.parquet",
        "train-00000.parquet",
        "validation-00000.parquet",
    ]
    assert done["metrics"] == {"trajectories": 4, "steps": 8, "rejected": 2, "dvc_md5": None}
    stats = json.loads((project / "out/stats.json").read_text())
    assert stats["splits"]["train"] == {
        "trajectories": 2, "steps": 4, "tasks": {"click-two": {"trajectories": 2, "steps": 4}},
    }  # fmt: skip
    assert stats["actions"] == {"click": 8}
    assert stats["rejected"] == {"total": 2, "reasons": {"coordinate off the screen": 1, "unknown action": 1}}
    found = {each.id: each for each in quarantined(project / "out")}
    assert set(found) == {"jsonl/click-two/1", "jsonl/click-two/4"}
    one = found["jsonl/click-two/1"]
    assert (one.file, one.row, one.reason) == ("train/click-two.jsonl", 2, "unknown action")
    assert "teleport" in one.detail and one.fix
    assert [read_back.id for read_back in read(project / "out", "train")] == ["jsonl/click-two/0", "jsonl/click-two/2"]


def test_twice_gives_equal_bytes_and_a_changed_source_another_digest(project):
    first = ingest(configured(), project / "a")
    second = ingest(configured(), project / "b")
    for path in (project / "a").glob("*.parquet"):
        assert path.read_bytes() == (project / "b" / path.name).read_bytes()
    assert first["output"] == second["output"]
    write_raw(project / "data/raw", [*sample(), episode("train", 9)])
    third = ingest(configured(), project / "b")
    assert third["digest"] != second["digest"]
    assert third["output"] != second["output"]


def test_a_finished_folder_is_used_as_it_is(project):
    ingest(configured(), project / "out")
    before = (project / "out/train-00000.parquet").stat().st_mtime_ns
    ingest(configured(), project / "out")
    assert (project / "out/train-00000.parquet").stat().st_mtime_ns == before


def test_the_limit_counts_episodes_a_task_and_split(project):
    write_raw(project / "data/raw", [*sample(), *(episode("train", number, "other") for number in range(20, 23))])
    done = ingest(configured(limit=1), project / "out")
    assert done["metrics"]["trajectories"] == 5
    assert [t.id for t in read(project / "out", "train")] == ["jsonl/click-two/0", "jsonl/other/20"]


def test_pinned_data_is_taken_and_its_md5_kept(project):
    pin(project / "data")
    done = ingest(configured(), project / "out")
    assert done["metrics"]["dvc_md5"] == dvc_md5(project / "data")


def test_data_changed_under_its_pin_is_refused_even_when_ingested_before(project):
    pin(project / "data")
    ingest(configured(), project / "out")
    path = project / "data/raw/train/click-two.jsonl"
    path.write_text(path.read_text().replace("Click", "Press"))
    with pytest.raises(LineageError, match=r"data has md5 .* data\.dvc pins .* `dvc checkout data\.dvc`"):
        ingest(configured(), project / "out")


@pytest.mark.parametrize("data", [{}, {"path": "data/raw"}, {"path": "mine", "pointer": "mine.dvc"}])
def test_a_pointer_that_is_gone_is_an_error(project, data):
    write_raw(project / "mine", sample())
    name = data.get("pointer", "data.dvc")
    config = Config(profile="test", data=data)
    with pytest.raises(LineageError, match=f"{name} does not exist, .*`git checkout {name}`.*`dvc add {name[:4]}`"):
        ingest(config, project / "out")
    with pytest.raises(LineageError, match=f"{name} does not exist"):
        data_digest(config)
    assert ingest(configured(pointer=""), project / "other")["metrics"]["dvc_md5"] is None
    assert data_digest(Config(profile="test", data=data, mixture={"sources": {"a": {"folder": "x"}}})) is None


def test_a_folder_of_ones_own_needs_no_pin_and_is_held_to_one_that_it_has(project):
    pin(project / "data")
    write_raw(project / "mine/raw", sample())
    done = ingest(configured(path="mine/raw"), project / "out")
    assert (done["metrics"]["trajectories"], done["metrics"]["dvc_md5"]) == (6, None)
    with pytest.raises(LineageError, match=r"mine/raw is not in data, .* set data\.pointer"):
        ingest(configured(path="mine/raw", pointer="data.dvc"), project / "out")
    pin(project / "mine")
    done = ingest(configured(path="mine/raw"), project / "out")
    assert done["metrics"]["dvc_md5"] == dvc_md5(project / "mine")
    (project / "mine/new").write_text("")
    with pytest.raises(LineageError, match=r"mine has md5 .* mine\.dvc pins"):
        ingest(configured(path="mine/raw"), project / "out")


def test_a_pinned_folder_that_was_not_pulled_names_the_command(project):
    pointer = pin(project / "data")
    (project / "data").rename(project / "moved")
    assert pointer.is_file()
    with pytest.raises(LineageError, match="fetch it with `dvc pull`"):
        ingest(configured(), project / "out")


def test_missing_data_and_an_unknown_source_are_named(project):
    with pytest.raises(LineageError, match=r"data/nowhere does not exist; .*`dvc pull`"):
        ingest(configured(path="data/nowhere", pointer=""), project / "out")
    with pytest.raises(ValueError, match="unknown source 'osworld'"):
        ingest(configured(source="osworld"), project / "out")


def test_an_empty_folder_is_an_error_and_leaves_nothing_finished(project):
    (project / "data/none").mkdir()
    with pytest.raises(SourceError, match=r"contains no \.jsonl file"):
        ingest(configured(path="data/none", pointer=""), project / "out")
    assert finished(project / "out") is None
    assert not list((project / "out").glob("*.parquet"))


def test_a_pointer_that_is_no_pointer_is_named(project):
    (project / "data.dvc").write_text("outs: []\n")
    with pytest.raises(LineageError, match=r"data\.dvc is not a DVC pointer"):
        ingest(configured(), project / "out")


def test_a_source_of_which_nothing_is_readable_is_an_error(project):
    for path in (project / "data/raw").rglob("*.tar"):
        path.unlink()
    with pytest.raises(
        SourceError, match=r"not one of 6 records .* heldout/click-two\.jsonl, row 1: missing picture: "
    ):
        ingest(configured(), project / "out")

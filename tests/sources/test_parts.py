"""Ingestion in parts: resumed after a kill, side by side, joined; the same bytes whatever way it was done."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.sources.collect import collected, data
from tests.sources.writers import agentnet, android_control, mind2web
from tests.sources.writers.published import SOURCES
from tracer import dataset
from tracer.cli import INTERRUPTION
from tracer.ingestion import assembly
from tracer.ingestion.assembly import assemble, compared
from tracer.ingestion.ingest import ingest_source
from tracer.ingestion.items import check_options
from tracer.ingestion.parts import PARTS, PartsError, ingest_part, ingest_parts, parsed_options
from tracer.ingestion.quarantine import quarantined
from tracer.lineage.digest import LINEAGE
from tracer.sources.source import SourceError

ROOT = Path(__file__).parents[2]


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (LINEAGE, "part.json")
    }


def statistics(folder):
    return json.loads((folder / "stats.json").read_text())


def many(folder, count=300):
    """AgentNet without pictures, long enough for several shards."""
    folder.mkdir()
    lines = [agentnet.line(f"task-{number}") for number in range(count)]
    for line in lines[: count // 2]:
        line["domain"] = "os"
    agentnet.write_lines(folder / agentnet.UBUNTU, lines)
    return folder


@pytest.mark.parametrize("name", SOURCES)
def test_what_an_adapter_reads_is_what_the_shards_hold(tmp_path, name):
    write, options = SOURCES[name]
    write(tmp_path / "raw")
    ingest_source(data(name, tmp_path / "raw", **options), tmp_path / "out")
    found, rejected = collected(name, tmp_path / "raw", **options)
    stored = list(dataset.read(tmp_path / "out"))
    assert sorted(stored, key=lambda each: each.id) == sorted(found, key=lambda each: each.id)
    assert len(list(quarantined(tmp_path / "out"))) == len(rejected)
    stats = statistics(tmp_path / "out")
    assert stats["trajectories"] == len(found)
    assert stats["rejected"]["total"] == len(rejected)
    assert not (tmp_path / "out" / PARTS).exists()


@pytest.mark.parametrize("name", SOURCES)
def test_ingesting_twice_gives_the_same_bytes(tmp_path, name):
    write, options = SOURCES[name]
    write(tmp_path / "raw")
    for out in ("one", "two"):
        ingest_source(data(name, tmp_path / "raw", **options), tmp_path / out)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_two_workers_give_the_bytes_of_one(tmp_path):
    android_control.write(tmp_path / "raw")
    ingest_source(data("android_control", tmp_path / "raw"), tmp_path / "one")
    ingest_source(data("android_control", tmp_path / "raw", workers=2), tmp_path / "two", progress=True)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_a_changed_source_gives_a_new_digest(tmp_path):
    agentnet.write(tmp_path / "raw")
    before = ingest_source(data("agentnet", tmp_path / "raw"), tmp_path / "out")
    assert ingest_source(data("agentnet", tmp_path / "raw"), tmp_path / "out") == before  # nothing to do
    path = tmp_path / "raw" / agentnet.UBUNTU
    path.write_text(path.read_text().replace("Save the file", "Keep the file"))
    after = ingest_source(data("agentnet", tmp_path / "raw"), tmp_path / "out")
    assert after["digest"] != before["digest"]
    assert after["output"] != before["output"]
    assert next(dataset.read(tmp_path / "out")).goal == "Keep the file of u1"


def test_a_killed_ingestion_goes_on_without_writing_finished_shards_again(tmp_path):
    raw = many(tmp_path / "raw", 3000)
    script = (
        "import sys; from pathlib import Path\n"
        "from tests.sources.collect import data; from tracer.ingestion.parts import ingest_parts\n"
        "ingest_parts(data('agentnet', sys.argv[1], images=False), Path(sys.argv[2]), shard_bytes=150_000)"
    )
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(raw), str(out)])
    part = out / PARTS / f"{agentnet.UBUNTU}@00000"
    deadline = time.monotonic() + 120
    while not (part / "train-00002.parquet").exists():
        assert process.poll() is None and time.monotonic() < deadline, "it finished, or never began"
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (part / "stats.json").exists()
    finished = {path.name: path.stat().st_ino for path in part.glob("train-*.parquet")}
    ingest_parts(data("agentnet", raw, images=False), out, shard_bytes=150_000)
    assert {name: (part / name).stat().st_ino for name in finished} == finished
    ingest_parts(data("agentnet", raw, images=False), tmp_path / "whole", shard_bytes=150_000)
    assert contents(out) == contents(tmp_path / "whole")
    assert not list(part.glob(".*.part"))


@pytest.mark.parametrize("moment", ["", ".parts/*/logs"], ids=["as workers start", "as they work"])
def test_ctrl_c_ends_workers_in_silence_and_is_said_once(tmp_path, moment):
    raw, out = many(tmp_path / "raw", 20_000), tmp_path / "out"
    shutil.copyfile(raw / agentnet.UBUNTU, raw / agentnet.WINDOWS)
    command = ["ingest", "agentnet", str(raw), "--workers", "2", "--option", "images=false", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tracer", *command], cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8",
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which background jobs have ignored
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not (list(out.glob(moment)) if moment else out.exists()):
        assert process.poll() is None and time.monotonic() < deadline, "it finished, or never began"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does
    _, said = process.communicate(timeout=60)
    assert said == f"{INTERRUPTION}\n"
    assert process.returncode == 130


def test_a_part_begun_with_other_options_is_begun_anew(tmp_path):
    raw = many(tmp_path / "raw", 5)
    part = f"{agentnet.UBUNTU}@00000"
    ingest_part(data("agentnet", raw, images=False), part, tmp_path / "part")
    ingest_part(data("agentnet", raw, images=False, goal="actual_task"), part, tmp_path / "part")
    assert next(dataset.read(tmp_path / "part")).goal == "Saved task-0"


def test_a_finished_part_is_not_read_again(tmp_path):
    raw = many(tmp_path / "raw", 5)
    part = f"{agentnet.UBUNTU}@00000"
    first = ingest_part(data("agentnet", raw, images=False), part, tmp_path / "part")
    shard = tmp_path / "part" / "train-00000.parquet"
    before = shard.stat().st_mtime_ns
    assert ingest_part(data("agentnet", raw, images=False), part, tmp_path / "part") == first
    assert shard.stat().st_mtime_ns == before


def test_one_failed_part_fails_alone_and_is_done_again_alone(tmp_path):
    android_control.write(tmp_path / "raw")
    broken = tmp_path / "raw" / "android_control-00001-of-00002"
    good = broken.read_bytes()
    stamp = broken.stat()
    broken.write_bytes(good[:-40])
    with pytest.raises(PartsError, match=r"1 of 2 parts(.|\n)*00001-of-00002.*cut off"):
        ingest_source(data("android_control", tmp_path / "raw"), tmp_path / "out")
    first = tmp_path / "out" / PARTS / "android_control-00000-of-00002" / "stats.json"
    assert first.is_file()
    broken.write_bytes(good)
    os.utime(broken, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    lineage = ingest_source(data("android_control", tmp_path / "raw"), tmp_path / "out")
    assert lineage["metrics"] == {"trajectories": 6, "steps": 48, "rejected": 1, "dvc_md5": None}


def test_an_id_that_two_parts_have_is_quarantined_once(tmp_path):
    folder = android_control.write(tmp_path / "raw")
    episodes = [android_control.record(android_control.example(android_control.episode(id))) for id in (0, 5)]
    android_control.write_shard(folder / "android_control-00001-of-00002", episodes)  # 0 is in shard 0, too
    ingest_source(data("android_control", folder), tmp_path / "out")
    stats = statistics(tmp_path / "out")
    assert [each.id for each in dataset.read(tmp_path / "out", "train")] == ["android_control/0", "android_control/1"]
    assert stats["rejected"] == {"total": 1, "reasons": {"duplicate id": 1}}
    assert (stats["trajectories"], stats["steps"], stats["splits"]["train"]["trajectories"]) == (4, 32, 2)
    assert [each.id for each in quarantined(tmp_path / "out")] == ["android_control/0"]


def test_published_counts_are_held_against_ours(tmp_path):
    mind2web.write(tmp_path / "raw")
    ingest_source(data("mind2web", tmp_path / "raw"), tmp_path / "out")
    published = statistics(tmp_path / "out")["published"]
    assert published["splits.test.tasks.test_task.steps"] == {"published": 1339, "found": 3, "difference": -1336}
    assert compared({"a": {"b": 3}}, {"a.b": 3, "a.c": 1})["a.b"]["difference"] == 0


def test_small_shards_are_joined_and_large_ones_linked(tmp_path, monkeypatch):
    raw = many(tmp_path / "raw", 300)
    monkeypatch.setattr("tracer.sources.large_json.PART_BYTES", 64_000)
    monkeypatch.setattr("tracer.sources.large_json.ranges.__defaults__", (64_000,))
    monkeypatch.setattr("tracer.sources.large_json.lines.__defaults__", (None, 64_000))
    parts = ingest_parts(data("agentnet", raw, images=False), tmp_path / "out", shard_bytes=60_000)
    assert len(parts) > 5
    small = sorted(path for part in parts for path in part.glob("train-*.parquet"))
    largest = max(path.stat().st_size for path in small)
    monkeypatch.setattr(assembly, "SMALL", largest)
    monkeypatch.setattr(assembly, "LARGE", 5 * largest)
    assemble("agentnet", parts, tmp_path / "out")
    joined = dataset.shards(tmp_path / "out")
    assert len(joined) < len(small)
    assert all(path.stat().st_size >= largest * 0.8 for path in joined)
    assert [each.id.split("/")[1] for each in dataset.read(tmp_path / "out")] == [f"task-{n}" for n in range(300)]
    monkeypatch.setattr(assembly, "SMALL", 1)
    assemble("agentnet", parts, tmp_path / "linked")
    linked = dataset.shards(tmp_path / "linked")
    assert [path.stat().st_ino for path in linked] == [path.stat().st_ino for path in small]
    assert pq.read_table(joined[0]).schema.equals(pq.read_table(linked[0]).schema)


def test_assembly_can_be_repeated(tmp_path):
    android_control.write(tmp_path / "raw")
    parts = ingest_parts(data("android_control", tmp_path / "raw"), tmp_path / "out")
    first = assemble("android_control", parts, tmp_path / "joined")
    bytes_ = contents(tmp_path / "joined")
    assert assemble("android_control", parts, tmp_path / "joined") == first
    assert contents(tmp_path / "joined") == bytes_


def test_options_are_checked_and_parsed():
    assert parsed_options(["text_only=true", "goal=actual_task"]) == {"text_only": True, "goal": "actual_task"}
    with pytest.raises(SourceError, match="key=value"):
        parsed_options(["text_only"])
    with pytest.raises(SourceError, match="no option colour; it has: images, goal, labels"):
        check_options("agentnet", {"colour": 1})


def test_statistics_of_parts_add_up(tmp_path):
    agentnet.write(tmp_path / "raw")
    parts = ingest_parts(data("agentnet", tmp_path / "raw"), tmp_path / "out")
    whole = assemble("agentnet", parts, tmp_path / "joined")
    each = [json.loads((part / "stats.json").read_text()) for part in parts]
    assert whole["steps"] == sum(stats["steps"] for stats in each) == 26
    assert whole["actions"]["click"] == sum(stats["actions"]["click"] for stats in each)

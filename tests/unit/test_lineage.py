"""Lineage: one digest decides whether a step is finished, resumed or run afresh."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tracer.json_files import write_json
from tracer.lineage.digest import LineageError, content_digest, finished
from tracer.lineage.pins import check_pin, dvc_md5, pinned_md5
from tracer.lineage.step import locked, read_lineage, run_step, verify_output
from tracer.lineage.why import state_of


def step(out: Path, source: Path, calls: list[str], **config: object) -> dict:
    def body(folder: Path) -> dict[str, int]:
        calls.append("ran")
        (folder / "result.txt").write_text(source.read_text().upper())
        return {"characters": len(source.read_text())}

    return run_step(
        "upper", config=config, inputs={"source": source}, out=out, module="tracer.lineage.digest", body=body
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.txt"
    path.write_text("words")
    return path


def test_the_same_digest_finds_the_finished_folder(tmp_path: Path, source: Path) -> None:
    calls: list[str] = []
    first, second = (step(tmp_path / "out", source, calls, a=1) for _ in range(2))
    assert first == second and calls == ["ran"]
    assert first["metrics"] == {"characters": 5}


def test_another_configuration_or_input_sets_the_folder_aside_and_finds_it_again(tmp_path: Path, source: Path) -> None:
    calls: list[str] = []
    first = step(tmp_path / "out", source, calls, a=1)
    step(tmp_path / "out", source, calls, a=2)
    source.write_text("other words")
    changed = step(tmp_path / "out", source, calls, a=2)
    assert len(calls) == 3 and (tmp_path / "out" / "result.txt").read_text() == "OTHER WORDS"
    assert changed["output"] != first["output"]
    source.write_text("words")
    assert step(tmp_path / "out", source, calls, a=1) == first and len(calls) == 3
    assert (tmp_path / "out" / "result.txt").read_text() == "WORDS"


def test_an_unfinished_folder_of_the_same_digest_is_resumed(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"

    def crash(folder: Path) -> dict[str, int]:
        (folder / "half.txt").write_text("half")
        raise RuntimeError("killed")

    arguments = {"config": {}, "inputs": {"source": source}, "out": out, "module": "tracer.lineage.digest"}
    with pytest.raises(RuntimeError, match="killed"):
        run_step("s", body=crash, **arguments)
    assert finished(out) is None
    with pytest.raises(LineageError, match="unfinished"):
        content_digest(out)
    seen: list[bool] = []

    def resume(folder: Path) -> dict[str, int]:
        seen.append((folder / "half.txt").exists())
        return {}

    run_step("s", body=resume, **arguments)
    assert seen == [True] and finished(out) is not None


def test_files_that_no_step_wrote_are_never_touched(tmp_path: Path, source: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(LineageError, match="holds files that no step wrote"):
        step(out, source, [])
    assert (out / "mine.txt").read_text() == "precious"


def test_a_changed_output_is_noticed(tmp_path: Path, source: Path) -> None:
    step(tmp_path / "out", source, [])
    verify_output(tmp_path / "out")
    (tmp_path / "out" / "result.txt").write_text("tampered")
    with pytest.raises(LineageError, match="has changed since"):
        verify_output(tmp_path / "out")


def test_a_finished_folder_is_found_on_a_disk_that_is_read_only(tmp_path: Path, source: Path) -> None:
    out, calls = tmp_path / "build" / "out", []
    first = step(out, source, calls)
    (tmp_path / "build" / ".out.lock").unlink(missing_ok=True)
    before = sorted(tmp_path.rglob("*"))
    assert step(out, source, calls) == first and calls == ["ran"]
    assert sorted(tmp_path.rglob("*")) == before  # nothing was written, not even a lock


def test_work_folders_are_no_part_of_the_output(tmp_path: Path, source: Path) -> None:
    step(tmp_path / "out", source, [])
    (tmp_path / "out" / "checkpoints").mkdir()
    (tmp_path / "out" / "checkpoints" / "x").write_text("anything")
    verify_output(tmp_path / "out")


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(LineageError, match="nowhere does not exist"):
        step(tmp_path / "out", tmp_path / "nowhere", [])


def _hold(out: Path, ready: multiprocessing.synchronize.Event) -> None:
    def body(folder: Path) -> dict[str, int]:
        ready.set()
        signal.pause()
        return {}

    run_step("upper", config={}, inputs={}, out=out, module="tracer.lineage.digest", body=body)


def test_a_folder_that_is_held_for_a_moment_is_waited_for(tmp_path: Path, source: Path) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with locked(tmp_path / "out"):
            held.set()
            free.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(30)
    threading.Timer(0.3, free.set).start()
    step(tmp_path / "out", source, [])
    holder.join()


def test_two_processes_never_write_one_folder(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.lineage.step.PATIENCE", 0.1)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "out", ready))
    holder.start()
    try:
        assert ready.wait(30)
        for look in (content_digest, read_lineage):
            with pytest.raises(LineageError, match=f"is being made now, by process {holder.pid}; wait"):
                look(tmp_path / "out")
        recipe = {"name": "upper", "config": {}, "inputs": {}, "module": "tracer.lineage.digest"}
        assert state_of(tmp_path / "out", recipe)[1] == [
            f"process {holder.pid} is making it now: wait until that has ended"
        ]
        with pytest.raises(LineageError, match="another process is writing"):
            step(tmp_path / "out", source, [])
    finally:
        assert holder.pid is not None
        os.kill(holder.pid, signal.SIGKILL)  # a killed writer leaves no lock behind
        holder.join()
    with pytest.raises(LineageError, match="is unfinished; run its step again"):
        content_digest(tmp_path / "out")
    step(tmp_path / "out", source, [])


def test_dvc_md5_is_dvcs_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (data / "b.txt").write_text("b")
    (data / "sub" / "a.txt").write_text("a")
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "data"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    pointer = tmp_path / "data.dvc"
    assert check_pin(data, pointer) == pinned_md5(pointer) == dvc_md5(data)
    (data / "b.txt").write_text("changed")
    with pytest.raises(LineageError, match="the data changed under its pin"):
        check_pin(data, pointer)
    pointer.write_text("outs: []\n")
    with pytest.raises(LineageError, match="not a DVC pointer"):
        check_pin(data, pointer)


def test_json_is_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}

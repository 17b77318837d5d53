"""What AndroidWorld's and OSWorld's own runners leave behind, and MiniWoB++'s online step."""

from __future__ import annotations

import datetime
import gzip
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy
import pytest

from tracer.benchmarks import inert_pickle
from tracer.json_files import write_json
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import BenchmarkError, benchmark_class
from tracer.scoring.paired import read_summary
from tracer.scoring.score import score


def own_items(benchmark: str, protocol: str) -> list[dict[str, Any]]:
    return list(benchmark_class(benchmark)(protocols.load(benchmark, protocol)).own_items())


def checkpoint(folder: Path, name: str, **episode: Any) -> None:
    template = name.rpartition("_")[0]
    whole = {
        "goal": "g", "task_template": template, "instance_id": 0, "is_successful": 1.0, "episode_length": 3,
        "run_time": 1.5, "exception_info": None, "finish_dtime": datetime.datetime(2026, 1, 1), "seed": 2**31,
        "episode_data": {"screenshot": [numpy.zeros((40, 60, 3), dtype=numpy.uint8)] * 2, "step_number": [0, 1]},
    }  # fmt: skip
    (folder / f"{name}.pkl.gz").write_bytes(gzip.compress(pickle.dumps([whole | episode])))


def test_android_world_checkpoints(tmp_path: Path) -> None:
    folder = tmp_path / "run_1"
    folder.mkdir()
    names = [item["id"] for item in own_items("android_world", "run-py")]
    checkpoint(folder, names[0])
    checkpoint(folder, names[1], is_successful=numpy.float64(1.0))
    checkpoint(folder, names[2], is_successful=0.0)
    checkpoint(folder, names[3], is_successful=float("nan"), exception_info="Traceback: adb is gone")
    checkpoint(folder, names[4], is_successful=float("nan"))
    (folder / f"{names[5]}.pkl.gz").write_bytes(b"half a file")
    score("android_world", "run-py", None, folder, tmp_path / "out", resamples=50)
    summary = read_summary(tmp_path / "out")
    assert summary["items"] == {**summary["items"], "scored": 116, "expected": 116, "complete": True}
    assert summary["figures"]["success"]["value"] == pytest.approx(2 / 116)
    assert summary["failed"] == {"crashed": 3, "missing": 110}


def test_whatever_one_checkpoint_holds_the_others_are_scored(tmp_path: Path) -> None:
    folder = tmp_path / "run_1"
    folder.mkdir()
    names = [item["id"] for item in own_items("android_world", "run-py")]
    whole = gzip.compress(pickle.dumps([{"is_successful": 1.0}] * 300))
    nested: Any = 1
    for _ in range(200):
        nested = [nested]
    damages: list[bytes | dict[str, Any]] = [
        whole[:40] + b"\xff\x00" * 20 + whole[80:], b"", {"is_successful": 10**400}, {"is_successful": "\ud83d"},
        {"exception_info": "adb \ud83d"}, {"is_successful": nested}, {"episode_length": 2**80}, {"is_successful": 7},
    ]  # fmt: skip
    for name, damage in zip(names, damages, strict=False):
        if isinstance(damage, bytes):
            (folder / f"{name}.pkl.gz").write_bytes(damage)
        else:
            checkpoint(folder, name, **damage)
    checkpoint(folder, names[len(damages)])
    score("android_world", "run-py", None, folder, tmp_path / "out", resamples=20)
    summary = read_summary(tmp_path / "out")
    assert summary["figures"]["success_finished"]["numerator"] == 1.0
    assert sum(summary["failed"].values()) == 115
    assert summary["failed"]["crashed"] + summary["failed"].get("malformed", 0) == len(damages)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("sprung"),))


@pytest.mark.parametrize("protocol", range(6))
def test_nothing_in_a_pickle_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int) -> None:
    monkeypatch.chdir(tmp_path)
    value = [{"trap": Trap(), "n": 1, "big": 2**80, "f": 0.5, "none": None, "yes": True, "t": (1, "a", b"b"), "s": {3}}]
    value.append(value[0])  # shared
    with (tmp_path / "p").open("wb") as file:
        pickle.dump(value, file, protocol=protocol)
    with (tmp_path / "p").open("rb") as file:
        found = inert_pickle.load(file)
    assert not (tmp_path / "sprung").exists()
    assert isinstance(found[0]["trap"], inert_pickle.Opaque)
    assert found[0] is found[1]
    assert {k: found[0][k] for k in ("n", "big", "f", "none", "yes")} == {
        "n": 1, "big": 2**80, "f": 0.5, "none": None, "yes": True,
    }  # fmt: skip
    assert found[0]["t"][:2] == (1, "a")


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\x80\x04.", b"\x80\x04]q", b"\x80\x04P1\n."])
def test_no_pickle_is_a_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "p").write_bytes(data)
    with (tmp_path / "p").open("rb") as file, pytest.raises(inert_pickle.InertPickleError):
        inert_pickle.load(file)


def test_osworld_results(tmp_path: Path) -> None:
    names = [item["id"] for item in own_items("osworld", "verified-50")]
    root = tmp_path / "results" / "pyautogui" / "screenshot" / "model"
    for name, text in zip(names, (b"1.0", b"0.25\n", b"True", b"nan", b"\xff oops"), strict=False):
        (root / name).mkdir(parents=True)
        (root / name / "result.txt").write_bytes(text)
    (root / names[5]).mkdir(parents=True)
    (root / names[5] / "traj.jsonl").write_text("{}")
    score("osworld", "verified-50", None, tmp_path / "results", tmp_path / "out", resamples=50)
    summary = read_summary(tmp_path / "out")
    assert summary["items"]["scored"] == 361
    assert summary["figures"]["success"]["value"] == pytest.approx(2.25 / 361)
    assert summary["figures"]["success_finished"]["value"] == pytest.approx(2.25 / 3)
    assert summary["failed"] == {"crashed": 3, "missing": 355}


def test_the_item_lists_have_their_published_counts() -> None:
    world = own_items("android_world", "run-py")
    assert Counter(item["difficulty"] for item in world) == {"easy": 61, "medium": 36, "hard": 19}
    desktop = own_items("osworld", "verified-15")
    assert Counter(item["domain"] for item in desktop) == {
        "chrome": 46, "gimp": 26, "libreoffice_calc": 47, "libreoffice_impress": 47, "libreoffice_writer": 23,
        "multi_apps": 93, "os": 24, "thunderbird": 15, "vlc": 17, "vs_code": 23,
    }  # fmt: skip
    assert sum(item["infeasible"] for item in desktop) == 30


def test_folders_that_are_none(tmp_path: Path) -> None:
    for benchmark, protocol in (("android_world", "run-py"), ("osworld", "verified-15"), ("miniwob", "heldout")):
        with pytest.raises(BenchmarkError, match="contains no"):
            score(benchmark, protocol, None, tmp_path, tmp_path.parent / f"{tmp_path.name}-{benchmark}")
    items = tmp_path / "items.jsonl"
    items.write_text('{"id": "a", "goal": "?", "level": "1", "answer": "1"}')
    with pytest.raises(BenchmarkError, match="is scored from a predictions"):
        score("gaia", "validation", items, tmp_path, tmp_path.parent / f"{tmp_path.name}-gaia")


def test_miniwob_results_of_the_online_step(tmp_path: Path) -> None:
    rules = protocols.load("miniwob", "heldout-2")
    pages = rules.match["pages"]
    folder = tmp_path / "online"
    folder.mkdir()
    rows = []
    for page in pages:
        for seed in (9000, 9001, 9002):
            for strategy in ("react", "anticipatory"):
                solved = page == pages[0]
                reason = "solved" if solved else "failed"
                rows.append(
                    {
                        "task": page,
                        "seed": seed,
                        "strategy": strategy,
                        "success": float(solved),
                        "steps": 4,
                        "reason": reason,
                    }
                )
    (folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(folder / "scores.json", {"protocol": {"retries": 3, "consistency": False}})
    with pytest.raises(BenchmarkError, match=r"asked again .* --set evaluation.retries=0"):
        score("miniwob", "heldout-2", None, folder, tmp_path / "again", resamples=50)
    write_json(folder / "scores.json", {"protocol": {"retries": 0, "consistency": False}})
    score("miniwob", "heldout-2", None, folder, tmp_path / "out", resamples=50)
    summary = read_summary(tmp_path / "out")
    assert summary["items"]["complete"]
    assert summary["figures"]["success"]["value"] == pytest.approx(2 / len(pages) / 2)
    assert summary["figures"]["steps"]["value"] == 4.0
    assert summary["failed"] == {}

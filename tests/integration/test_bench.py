"""Both sides of the speed comparison, really trained, on a micro planner."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.planners import micro_config, trajectories, write_base
from tracer.experiments.bench import PHASES, SIDES, bench
from tracer.lineage.digest import LineageError


@pytest.mark.slow
def test_both_sides_take_their_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shards = trajectories(tmp_path)
    base = write_base(tmp_path / "base", shards, image=True, steps=36)
    config = micro_config(base, image=True)
    found = bench(config, base, shards, tmp_path / "work", steps=2, seeds=1)
    for side in SIDES:
        measured = found["sides"][side]
        phases = sum(measured["seconds"][phase] for phase in PHASES)
        assert measured["seconds"]["step"] == pytest.approx(phases, rel=0.2)
        assert measured["seconds"]["generate"] > 0 and measured["seconds"]["update"] > 0
        assert measured["seconds"]["score"] > 0 and measured["peak_bytes"] > 2**20
        assert measured["tokens"]["prompt"] > measured["tokens"]["completion"] > 0
        assert 0 < sum(each["share"] for each in measured["operators"]) <= 1.0001
    ours, theirs = (found["sides"][side]["tokens"]["prompt"] for side in SIDES)
    assert ours == theirs  # the same prompts
    assert len(found["rewards"]["curves"]["ours"][0]) == 2
    assert found["speedup"]["low"] <= found["speedup"]["mean"] <= found["speedup"]["high"]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    config = micro_config(tmp_path / "base", image=False)
    with pytest.raises(LineageError, match="tracer ingest"):
        bench(config, tmp_path / "base", tmp_path / "shards", tmp_path / "work", steps=2, seeds=1)

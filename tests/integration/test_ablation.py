"""Ablations of a micro planner, really trained and evaluated: two seeds, with and without what is changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.episodes import sample, write_raw
from tests.planners import micro_config, trajectories, write_base
from tracer.config import load
from tracer.experiments.ablation import COMPARED, ablate, configuration, select
from tracer.ingestion.ingest import ingest
from tracer.lineage.step import read_lineage
from tracer.training.gates import GateError

NAMES = ("no-stage2", "horizon-1", "normalize-then-sum")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablation")
    write_raw(folder / "raw", sample())
    base = write_base(folder / "base", trajectories(folder / "taught"), image=False, steps=36)
    config = micro_config(base, image=False)
    profile = {
        "data": {"path": str(folder / "raw"), "pointer": ""},
        "build": str(folder / "build"),
        "planner": config.planner.model_dump(),
        "stage1": config.stage1.model_dump(exclude={"lora"}),
        "stage2": config.stage2.model_dump(exclude={"lora"}),
        "evaluation": {"resamples": 50},
        "gates": {"max_unparsable": 1.0, "max_dead_groups": 1.0},  # two steps teach nothing
    }
    (folder / "params.yaml").write_text(yaml.safe_dump({"profile": "micro", "profiles": {"micro": profile}}))
    return folder


@pytest.mark.slow
def test_variants_are_trained_compared_and_found_again(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    plain = load("micro")
    ingest(plain, plain.out("ingest"))
    said: list[str] = []
    found = ablate("micro", seeds=2, only=NAMES, say=said.append)
    assert [each["name"] for each in found] == list(NAMES)
    assert len(said) == 2 * (2 + 2)  # the baseline's two stages and two variants; no-stage2 is the baseline's own
    for each in found:
        assert set(each["metrics"]) == set(COMPARED)
        assert len(each["metrics"]["step"]["seeds"]) == 2
        assert each["metrics"]["step"]["difference"]["n"] == 4  # two states in test, two in heldout
    shorter = configuration("micro", select(["horizon-1"])[0], seed=1)
    assert read_lineage(shorter.out("stage1"))["config"]["planner"]["horizon"] == 1
    scored = read_lineage(shorter.out("evaluate-stage1"))["config"]
    assert scored["planner"]["horizon"] == 1 and scored["reward"] == plain.reward.model_dump(mode="json")
    aggregated = configuration("micro", select(["normalize-then-sum"])[0], seed=0)
    assert read_lineage(aggregated.out("stage1"))["config"]["stage1"]["aggregation"] == "normalize_then_sum"
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("lineage.json")}
    assert {path.name for path in shorter.folder.iterdir() if not path.name.startswith(".")} == {
        "validate", "stage1", "gate-stage1", "evaluate-stage1"
    }  # fmt: skip
    assert ablate("micro", seeds=2, only=NAMES, say=said.append) == found
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("lineage.json")} == before


@pytest.mark.slow  # goes on in the folder of the one before
def test_a_closed_gate_ends_an_ablation(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    with pytest.raises(GateError, match=r"paper/micro/seed0/gate-stage1 is closed: .* do not parse"):
        ablate("micro", seeds=1, only=["horizon-1"], overrides=["gates.max_unparsable=0"])

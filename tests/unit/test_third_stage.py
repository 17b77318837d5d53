"""A third stage of training takes three files: its module, its place in the list, and its section of the configuration.

The package is copied and the three are changed there; everything else has to follow.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KINDS = (".py", ".yaml")
MODULE = '''
"""Stage 3: whole forecasts once more, after grounding."""

from tracer.config import Config
from tracer.training import stage1
from tracer.training.score import Score
from tracer.training.stage import Promise, Stage


def scorer(config: Config) -> Score:
    return stage1.scorer(config)


STAGE = Stage(
    name="stage3",
    title="stage 3",
    about="whole forecasts once more",
    start="stage2",
    judges=("reward",),
    parts=stage1.STAGE.parts,
    scorer=scorer,
    promises=(Promise(metric="prefix", text="Stage 3 is right for longer than stage 2"),),
)
'''
FIELD = "    stage1: GrpoConfig = GrpoConfig()\n"
CHANGES = {
    "tracer/stages.py": (
        ("import stage1, stage2", "import stage1, stage2, stage3"),
        ("stage2.STAGE)", "stage2.STAGE, stage3.STAGE)"),
    ),
    "tracer/config.py": ((FIELD, FIELD + FIELD.replace("stage1", "stage3")),),
}
SHOW = """
import json, warnings
warnings.simplefilter("ignore")
from pipelines.definitions import defs
from tracer import flow
from tracer.experiments.stages import claims
from tracer.registry.rebuild import COMMANDS
from tracer.reporting import tables
from tracer.stages import PROMISES

graph = defs.resolve_asset_graph()
print(json.dumps({
    "steps": {step.name: step.reads for step in flow.STEPS},
    "assets": {key.to_user_string(): sorted(parent.to_user_string() for parent in graph.get(key).parent_keys)
               for key in graph.get_all_asset_keys()},
    "checks": sorted(key.name for key in graph.asset_check_keys if key.asset_key.to_user_string() == "stage3"),
    "planners": tables.PLANNERS,
    "compared": tables.PAIRS,
    "promises": [promise.text for _, promise in PROMISES],
    "claims": [(claim.ours.title, claim.theirs.title, claim.metric) for claim in claims()],
    "rebuilt": COMMANDS,
}))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a third stage."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("tracer", "pipelines"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "tracer" / "training" / "stage3.py").write_text(MODULE, encoding="utf-8")
    for name, changes in CHANGES.items():
        text = (folder / name).read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def python(project: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=project, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def shown(project: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(python(project, "-c", SHOW))
    return found


def test_a_stage_is_named_only_where_it_is_defined() -> None:
    paths = [path for name in ("tracer", "pipelines") for path in (ROOT / name).rglob("*") if path.suffix in KINDS]
    naming = {path.relative_to(ROOT).as_posix() for path in paths if "stage2" in path.read_text(encoding="utf-8")}
    # The ablation without stage 2 is the paper's, and about that stage.
    assert naming == {"tracer/training/stage2.py", "tracer/experiments/variants.yaml", *CHANGES}


def test_the_flow_trains_gates_evaluates_and_registers_it(shown: dict[str, Any]) -> None:
    steps = shown["steps"]
    assert steps["stage3"] == ["ingest", "stage2", "gate-stage2"]
    assert steps["gate-stage3"] == ["ingest", "stage2", "stage3"]
    assert {"evaluate-stage3", "online-stage3", "gate-stage3"} <= set(steps["report"])
    assert steps["register"] == ["stage3", "evaluate-stage3", "online-stage3", "validate", "gate-stage3"]
    assert shown["rebuilt"]["stage3"] == "train stage3"


def test_dagster_has_its_assets_and_its_gate(shown: dict[str, Any]) -> None:
    from tracer.training.gates import CHECKS

    assert shown["assets"]["stage3"] == ["stage2", "trajectories"]
    assert shown["assets"]["evaluate_stage3"] == ["stage3", "trajectories"]
    assert "stage3" in shown["assets"]["registered_model"] and "stage3" in shown["assets"]["report"]
    assert shown["checks"] == sorted(CHECKS)


def test_the_report_and_the_experiments_compare_it(shown: dict[str, Any]) -> None:
    assert shown["planners"]["stage3"] == "stage 3"
    assert shown["compared"] == [
        ["base", "stage1"], ["stage1", "stage2"], ["stage2", "stage3"], ["base", "stage2"], ["base", "stage3"],
    ]  # fmt: skip
    assert shown["promises"][-1] == "Stage 3 is right for longer than stage 2"
    assert ["stage3", "stage2", "prefix"] in shown["claims"] and ["stage3", "base", "prefix"] in shown["claims"]
    assert ["stage3, anticipatory", "stage3, react", "success"] in shown["claims"]


def test_dvc_and_the_command_line_know_it(project: Path) -> None:
    document = yaml.safe_load(python(project, "-m", "tracer", "dvc-yaml"))
    assert document["stages"]["stage3"]["cmd"].startswith("tracer train stage3 ")
    assert "build/${profile}/seed${seed}/gate-stage3" in document["stages"]["evaluate-stage3"]["deps"]
    command = ["train", "stage3", "--profile", "micro", "--set", "stage3.steps=7", "--dry-run"]
    dry = python(project, "-m", "tracer", *command)
    assert yaml.safe_load(dry)["stage3"]["steps"] == 7 and "not made yet: build/micro/seed0/ingest" in dry

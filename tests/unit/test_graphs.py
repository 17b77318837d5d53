"""Three fronts, one flow: dvc.yaml and Dagster's asset graph follow from the steps of tracer/flow.py."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tracer import flow
from tracer.cli import main
from tracer.config import Config, load
from tracer.dvc_yaml import dvc_yaml
from tracer.registry.promotion import DECISION
from tracer.registry.register import RECEIPT
from tracer.stages import MODELS, STAGES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config() -> Config:
    return load("demo", path=ROOT / "params.yaml")


def test_dvc_yaml_is_what_the_flow_prints(config: Config) -> None:
    assert (ROOT / "dvc.yaml").read_text(encoding="utf-8") == dvc_yaml(config), "run `tracer dvc-yaml > dvc.yaml`"


def test_dvc_watches_the_data_where_params_yaml_has_it(config: Config) -> None:
    moved = load("demo", ["data.path=team/episodes", "planner.base=examples"], path=ROOT / "params.yaml")
    stages = yaml.safe_load(dvc_yaml(moved))["stages"]
    assert "team/episodes" in stages["ingest"]["deps"] and "examples" in stages["stage1"]["deps"]
    assert "data/" not in dvc_yaml(moved)


def test_the_arrows_of_the_flow() -> None:
    reads = {step.name: set(step.reads) for step in flow.STEPS}
    assert reads["stage1"] == {"ingest", "validate", "base"}
    assert reads["stage2"] == {"ingest", "stage1", "gate-stage1"}
    assert reads["gate-stage2"] == {"ingest", "stage1", "stage2"}
    assert reads["online-base"] == {"ingest", "base"}
    assert reads["online-stage2"] == {"ingest", "stage2", "gate-stage2"}
    assert reads["register"] == {"stage2", "evaluate-stage2", "online-stage2", "validate", "gate-stage2"}
    assert reads["promote"] == {"register", "ingest", "evaluate-base", "online-base"}
    before = [step.name for step in flow.before(flow.evaluation("offline", "stage1"))]
    assert before == ["ingest", "validate", "stage1", "gate-stage1"]
    done = {flow.RAW, "base"}
    for step in flow.STEPS:  # in an order in which they can run
        assert set(step.reads) <= done, step.name
        done.add(step.name)


def test_every_command_of_a_step_is_one_that_the_command_line_takes() -> None:
    for step in flow.STEPS:
        arguments = [*shlex.split(step.command), "--profile", "demo", "--seed", "0"]
        assert main([*arguments, "--help"]) == 0, step.name
        assert main([*arguments, "--nothing", "--help"]) == 2, step.name


def test_dvc_asks_anew_for_what_no_file_shows_and_takes_a_refusal_for_a_result(config: Config) -> None:
    stages = yaml.safe_load(dvc_yaml(config))["stages"]
    always = {name for name, stage in stages.items() if stage.get("always_changed")}
    assert always == {step.name for step in flow.of("online")}
    assert stages["promote"]["cmd"].startswith("tracer promote --or-refuse ")


def test_receipts_are_what_the_registry_writes() -> None:
    assert [step.receipt for step in flow.STEPS if step.receipt] == [RECEIPT, DECISION]


def test_dvc_itself_reads_the_file(tmp_path: Path) -> None:
    """DVC checks its schema, fills in the variables and joins the arrows."""
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for command in (["init", "--no-scm", "-q"], ["dag", "--dot"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    arrows = {tuple(line.strip().rstrip(";").split(" -> ")) for line in done.stdout.splitlines() if "->" in line}
    wanted = {(f'"{read}"', f'"{step.name}"') for step in flow.STEPS for read in step.reads}
    outside = {f'"{flow.RAW}"', '"base"'}
    assert arrows == {(read, name) for read, name in wanted if read not in outside}


def test_what_dvc_reads_and_writes_lies_where_the_flow_has_it(config: Config) -> None:
    text = dvc_yaml(config).replace("${profile}", config.profile).replace("${seed}", str(config.seed))
    document = yaml.safe_load(text)
    for step in flow.STEPS:
        stage = document["stages"][step.name]
        assert {str(path) for path in step.folders(config).values()} <= set(stage["deps"])
        assert [list(out) for out in stage["outs"]] == [[str(step.out(config))]]
    declared = {path for stage in document["stages"].values() for out in stage["outs"] for path in out}
    assert not [path for path in declared if path.startswith("data")]
    plotted = [path for plot in document["plots"] for settings in plot.values() for path in settings["y"]]
    assert len(plotted) == 3 * len(STAGES) and len(document["metrics"]) == len(STAGES) + 2 * len(MODELS)
    assert {str(Path(path).parent) for path in [*document["metrics"], *plotted]} <= declared


def test_dagster_has_the_steps_of_the_flow_and_their_arrows() -> None:
    from pipelines import steps
    from pipelines.definitions import defs
    from pipelines.jobs import FLOW_GROUPS

    graph = defs.resolve_asset_graph()
    keys = {key for key in graph.get_all_asset_keys() if graph.get(key).group_name in FLOW_GROUPS}
    checks = {step.name: steps.key("ingest" if step.kind == "validate" else step.planner)
              for step in flow.STEPS if step.kind in steps.CHECKS}  # fmt: skip
    for step in flow.STEPS:
        if step.name in checks:
            assert any(key.asset_key == checks[step.name] for key in graph.asset_check_keys), step.name
            continue
        parents = graph.get(steps.key(step.name)).parent_keys
        assert parents == {steps.key(read) for read in step.reads if read not in checks}, step.name
        # A blocking check of a parent, or of a parent's parent, holds everything after it back.
        before = parents | graph.get_ancestor_asset_keys(steps.key(step.name))
        assert {checks[read] for read in step.reads if read in checks} <= before, step.name
    outside = {steps.key(flow.RAW), steps.key("base")}
    assert keys == {steps.key(step.name) for step in flow.STEPS if step.name not in checks} | outside

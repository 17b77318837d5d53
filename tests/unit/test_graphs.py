"""Three fronts, one flow: tracer/flow.py, dvc.yaml and Dagster's asset graph have the same steps and arrows."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tracer import flow
from tracer.cli import parser
from tracer.config import Config, load

ROOT = Path(__file__).parents[2]
ASSETS = {"ingest": "trajectories", "register": "registered_model", "promote": "champion"}
CHECKED = {
    "validate": "trajectories",
    "gate-stage1": "stage1",
    "gate-stage2": "stage2",
}  # a check -> the asset it gates
OUTSIDE = {"data/raw": "raw_episodes", "data/base": "base_planner"}
REGISTRY = {"register": {"stage2", "evaluate-stage2", "online-stage2", "validate", "gate-stage2"},
            "promote": {"register", "ingest", "evaluate-base", "online-base"}}  # fmt: skip
RECEIPTS = {"registered.json": "register", "decision.json": "promote"}


@pytest.fixture(scope="module")
def config() -> Config:
    return load("demo", path=ROOT / "params.yaml")


@pytest.fixture(scope="module")
def stages(config: Config) -> dict[str, dict[str, Any]]:
    text = (ROOT / "dvc.yaml").read_text()
    return yaml.safe_load(text.replace("${profile}", config.profile).replace("${seed}", str(config.seed)))["stages"]


def step_of(path: str, config: Config) -> str:
    """The step whose output a path below the build folder is."""
    name = Path(path).relative_to(config.folder).parts[0]
    return RECEIPTS.get(name, name)


def arrows(config: Config) -> dict[str, set[str]]:
    return {step.name: set(step.reads) for step in flow.steps(config)} | REGISTRY


def test_dvc_has_the_steps_of_the_flow_and_their_arrows(config: Config, stages: dict[str, dict[str, Any]]) -> None:
    found = {}
    for name, stage in stages.items():
        found[name] = {step_of(path, config) for path in stage["deps"] if path.startswith(config.build + "/")}
        assert [step_of(path, config) for out in stage["outs"] for path in out] == [name]
        assert all(options["persist"] for out in stage["outs"] for options in out.values())
        assert stage["params"] == [f"profiles.{config.profile}"]
    assert found == arrows(config)


def test_dvc_reads_from_outside_what_the_flow_reads(config: Config, stages: dict[str, dict[str, Any]]) -> None:
    readers = {path: {name for name, stage in stages.items() if path in stage["deps"]} for path in OUTSIDE}
    assert readers["data/raw"] == {"ingest"}
    assert readers["data/base"] == {"validate", "stage1", "gate-stage1", "evaluate-base", "online-base"}
    assert config.data.path == "data/raw" and config.planner.base == "data/base"


def test_every_dvc_command_is_one_that_the_command_line_takes(stages: dict[str, dict[str, Any]]) -> None:
    for name, stage in stages.items():
        program, *arguments = shlex.split(stage["cmd"])
        assert program == "tracer"
        parsed = parser().parse_args(arguments)
        assert (parsed.profile, parsed.seed) == ("demo", 0), name


def test_no_output_lies_inside_the_data(stages: dict[str, dict[str, Any]]) -> None:
    assert not [path for stage in stages.values() for out in stage["outs"] for path in out if path.startswith("data")]


def test_metrics_and_plots_lie_inside_declared_outputs(config: Config, stages: dict[str, dict[str, Any]]) -> None:
    text = (ROOT / "dvc.yaml").read_text().replace("${profile}", config.profile).replace("${seed}", str(config.seed))
    document = yaml.safe_load(text)
    declared = {path for stage in stages.values() for out in stage["outs"] for path in out}
    plotted = [path for plot in document["plots"] for settings in plot.values() for path in settings["y"]]
    assert document["metrics"] and plotted
    for path in [*document["metrics"], *plotted]:
        assert str(Path(path).parent) in declared


def test_dagster_has_the_steps_of_the_flow_and_their_arrows(config: Config) -> None:
    from pipelines.definitions import defs
    from pipelines.jobs import FLOW_GROUPS

    graph = defs.resolve_asset_graph()
    keys = {key.to_user_string(): key for key in graph.get_all_asset_keys() if graph.get(key).group_name in FLOW_GROUPS}
    checked: dict[str, set[str]] = {}
    for key in graph.asset_check_keys:
        checked.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    for name, reads in arrows(config).items():
        if name in CHECKED:
            assert checked[CHECKED[name]], f"{name} is no check of {CHECKED[name]}"
            continue
        parents = {key.to_user_string() for key in graph.get(keys[asset_of(name)]).parent_keys}
        # A blocking check of a parent, or of a parent's parent, holds everything after it back.
        before = parents | {key.to_user_string() for key in graph.get_ancestor_asset_keys(keys[asset_of(name)])}
        for read in reads:
            if read in CHECKED:
                assert CHECKED[read] in before, f"{name} does not wait for the gate {read}"
            else:
                assert asset_of(read) in parents, f"{name} does not depend on {read}"
        extra = parents - {asset_of(read) for read in reads if read not in CHECKED} - set(OUTSIDE.values())
        assert extra <= {CHECKED[read] for read in reads if read in CHECKED}, f"{name} depends on {extra} besides"
    known = {asset_of(name) for name in arrows(config) if name not in CHECKED} | set(OUTSIDE.values())
    assert set(keys) == known


def asset_of(step: str) -> str:
    return ASSETS.get(step, step.replace("-", "_"))

"""The profile ``tools``: from AgentDojo's and BFCL's tasks to a text planner that its benchmarks' checkers judge."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tracer import dataset
from tracer.benchmarks.agentdojo import AgentDojo
from tracer.config import Config, load
from tracer.dataset import write_shards
from tracer.evaluation import offline
from tracer.ingestion import ingest
from tracer.lineage.step import run_step
from tracer.planner.transformers import TransformersPlanner
from tracer.scoring import protocol as protocols
from tracer.sources import agentdojo, bfcl
from tracer.tools import agentdojo as workplaces
from tracer.tools import bfcl as apis
from tracer.training import bootstrap, stage1, stage2
from tracer.trajectory import Trajectory

pytest.importorskip("agentdojo")
TASKS = {"agentdojo": {0, 1, 2, 3}, "bfcl": {0, 1, 2}}
"""The numbers of the tasks of each source: one for test, one for validation, the others for training."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The profile over a handful of tasks, with a step of each stage."""
    folder = tmp_path_factory.mktemp("tools")
    try:
        read = {
            "agentdojo": agentdojo.read(workplaces.find() / "data/suites"),
            "bfcl": bfcl.read(apis.find() / "data", categories="base"),
        }
    except ValueError as error:
        pytest.skip(str(error))
    for name, items in read.items():
        read_few = [each for each in items if isinstance(each, Trajectory) and _number(each) in TASKS[name]]
        few = [each for each in read_few if "workspace" not in each.task]
        _ingested(few, folder / name)
    stage = {"steps": 1, "groups": 2, "group_size": 2, "max_prompts": 4, "pass_rate_samples": 0, "checkpoint_every": 1}
    given: dict[str, Any] = {
        **load("tools").model_dump(),
        "build": str(folder / "build"),
        "stage1": stage,
        "stage2": stage,
    }
    given["mixture"]["sources"] = {name: {"folder": str(folder / name)} for name in TASKS}
    given["planner"] |= {"base": str(folder / "base"), "max_new_tokens": 24}
    given["bootstrap"] |= {"hidden": 32, "layers": 1, "steps": 2, "batch": 4, "vocabulary": 600}
    given["evaluation"] |= {"max_states": 2, "resamples": 10}
    return Config.model_validate(given)


def _ingested(few: list[Trajectory], out: Path) -> None:
    def body(folder: Path) -> dict[str, Any]:
        write_shards(few, folder)
        return {}

    run_step("ingest", config={}, inputs={}, out=out, module=bfcl.__name__, body=body)


def _number(each: Trajectory) -> int:
    return int(each.id.split("/")[-1 if each.source == "agentdojo" else 1].rpartition("_")[2])


def test_the_profile_is_of_tools() -> None:
    config = load("tools")
    assert (config.planner.image, config.planner.grammar) == (False, "literal")
    assert set(config.grounding.executors) == set(config.mixture.sources) == {"agentdojo", "bfcl"}


@pytest.mark.slow
def test_a_base_and_both_stages_are_made_and_judged(config: Config) -> None:
    shards = config.out("ingest")
    ingest.ingest(config, shards)
    assert {(each.source, each.split) for each in dataset.read(shards)} >= {
        ("agentdojo", "heldout"), ("agentdojo", "train"), ("bfcl", "train"), ("bfcl", "validation"),
    }  # fmt: skip
    base = Path(config.planner.base)
    bootstrap.train(config, shards, base)
    assert TransformersPlanner.load(base).model.config.model_type == "qwen3"
    stage1.STAGE.train(config, shards, base, config.out("stage1"))
    line = stage2.STAGE.train(config, shards, config.out("stage1"), config.out("stage2"))
    assert line["metrics"]["executed"] > 0 and line["metrics"]["compared"] == 0
    assert {"agentdojo/slack", "bfcl/gorilla_file_system"} <= {each["name"] for each in line["config"]["tools"]}
    evaluated = offline.evaluate(config, shards, config.out("stage2"), config.out("evaluate-stage2"))
    assert evaluated["config"]["tools"] == line["config"]["tools"]
    benchmark = AgentDojo(protocols.load("agentdojo", "utility"))
    item = next(each for each in benchmark.own_items() if each["suite"] == "slack")
    (played,) = benchmark.worker(TransformersPlanner.load(config.out("stage2")), 3, None, None)([item])  # type: ignore[arg-type]
    assert set(played["native"]) == {"calls", "answer"}

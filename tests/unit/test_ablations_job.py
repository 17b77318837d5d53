"""The Dagster job of the ablations: one op per variant, one after the other, all with the same settings."""

from __future__ import annotations

import itertools

import dagster as dg

from pipelines.ablations import OPS, RESOURCES, Ablations, ablations
from tracer.experiments.ablation import VARIANTS


def test_an_op_a_variant_one_after_the_other() -> None:
    names = [variant.name.replace("-", "_") for variant in VARIANTS]
    assert [op.name for op in OPS] == names
    structure = ablations.graph.dependency_structure
    for before, after in itertools.pairwise(names):
        assert {output.node_name for output in structure.all_upstream_outputs_from_node(after)} == {before}


def test_the_command_of_every_op() -> None:
    settings = Ablations(profile="tiny", seeds=5, settings=["stage1.steps=9"])
    assert settings.arguments() == [
        "--profile", "tiny", "--seeds", "5", "--set", "stage1.steps=9", "--out", "docs/ablations"
    ]  # fmt: skip


def test_the_job_is_whole() -> None:
    definitions = dg.Definitions(jobs=[ablations])
    job = definitions.resolve_job_def("ablations")
    dg.validate_run_config(job, {"resources": {"settings": {"config": {"profile": "micro", "seeds": 1}}}})
    assert set(RESOURCES) == {"settings"}

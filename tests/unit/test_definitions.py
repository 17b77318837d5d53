"""What Dagster is told: it loads, it is complete, and it stays apart from the library."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import warnings
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.snap import JobSnap
from dagster._core.snap.snap_to_yaml import default_values_yaml_from_type_snap

from pipelines.jobs import FLOW_GROUPS

ROOT = Path(__file__).parents[2]
EXTERNAL = {"raw_episodes", "base_planner"}


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    from pipelines.definitions import defs

    return defs


def specs(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """The flow's assets."""
    every = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    return {name: spec for name, spec in every.items() if spec.group_name in FLOW_GROUPS}


def test_every_asset_says_whose_it_is_and_what(defs: dg.Definitions) -> None:
    for name, spec in specs(defs).items():
        assert spec.tags.get("domain"), name
        if name not in EXTERNAL:
            assert spec.kinds and spec.owners and spec.code_version, name
            assert spec.description, name


def test_the_gpu_is_asked_for_where_a_model_runs(defs: dg.Definitions) -> None:
    graph = defs.resolve_asset_graph()
    for name, spec in specs(defs).items():
        node = graph.get(spec.key)
        expensive = name in ("stage1", "stage2") or name.startswith(("evaluate_", "online_"))
        assert (node.pools == {"gpu"}) == expensive, name
        if expensive:
            op = node.assets_def.op
            limits = json.loads(op.tags["dagster-k8s/config"])["container_config"]["resources"]["limits"]
            assert limits == {"nvidia.com/gpu": "1"} and op.retry_policy is not None


def test_only_cheap_assets_materialise_by_themselves(defs: dg.Definitions) -> None:
    automatic = {name for name, spec in specs(defs).items() if spec.automation_condition is not None}
    assert automatic == {"raw_episodes", "trajectories", "report"}


def test_gates_block(defs: dg.Definitions) -> None:
    from tracer.config import Config
    from tracer.training.gates import CHECKS
    from tracer.validation.suite import expectations

    graph = defs.resolve_asset_graph()
    keys = {spec.key for spec in specs(defs).values()}
    checks = [key for key in graph.asset_check_keys if key.asset_key in keys]
    blocking = {key: graph.get_check_spec(key).blocking for key in checks}
    found = {(key.asset_key.to_user_string(), key.name) for key, blocks in blocking.items() if blocks}
    assert {name for asset, name in found if asset == "stage1"} == set(CHECKS)
    assert {name for asset, name in found if asset == "stage2"} == set(CHECKS)
    wanted = expectations(Config(profile="any"), prompts=True)
    assert len([name for asset, name in found if asset == "trajectories"]) == sum(e.severity == "error" for e in wanted)
    assert len(blocking) == len(wanted) + 2 * len(CHECKS)


def test_a_changed_parameter_shows_as_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster compares code versions: the step that reads the parameter gets another one, the others keep theirs."""
    from pipelines import steps
    from tracer import flow
    from tracer.config import load

    before = load("demo", path=ROOT / "params.yaml")
    after = load("demo", ["stage2.steps=7"], path=ROOT / "params.yaml")
    found = []
    for config in (before, after):
        monkeypatch.setattr(steps, "settings", lambda config=config: config)
        found.append({step.name: steps.version(step) for step in flow.STEPS})
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {"stage2"}
    online = load("demo", ["evaluation.episodes=9"], path=ROOT / "params.yaml")
    monkeypatch.setattr(steps, "settings", lambda: online)
    assert steps.version(flow.step("online-base")) != found[0]["online-base"]


def test_data_and_champion_have_a_freshness_policy(defs: dg.Definitions) -> None:
    fresh = {name for name, spec in specs(defs).items() if spec.freshness_policy is not None}
    assert fresh == {"trajectories", "champion"}


def test_an_asset_selection_can_be_parsed() -> None:
    """Dagster's parser needs ANTLR 4.13, which DVC's usual dependencies keep at 4.9 (dagster#27487)."""
    selection = dg.AssetSelection.from_string('key:"stage1"+ or group:"data"')
    assert "stage1" in str(selection)


def test_job_schedule_and_sensors(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    assert {"retrain", "add_batch"} <= {job.name for job in repository.get_all_jobs()}
    assert [schedule.cron_schedule for schedule in repository.schedule_defs] == ["0 3 * * 1"]
    assert {"data_pinned", "data_arrived", "run_failed", "watch"} <= {sensor.name for sensor in repository.sensor_defs}
    nodes = set(defs.resolve_job_def("retrain").graph.node_dict)
    assert nodes == set(specs(defs)) - EXTERNAL | {"validation", "gate_stage1", "gate_stage2"}


def test_the_library_knows_nothing_of_dagster() -> None:
    for path in sorted((ROOT / "tracer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0].startswith("dagster") for name in names), f"{path}: {names}"


def test_definitions_load_without_torch() -> None:
    """Whatever loads the definitions (the UI, the daemon, a sensor's tick) must not wait for torch."""
    heavy = "{'torch', 'transformers', 'mlflow', 'trl'}"
    code = f"import sys, pipelines.definitions; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_launchpad_begins_with_profile_and_seed_and_has_no_kubernetes(defs: dg.Definitions) -> None:
    job = JobSnap.from_job_def(defs.resolve_job_def("retrain"))
    schema = job.config_schema_snapshot
    shown = default_values_yaml_from_type_snap(schema, schema.get_config_snap(job.mode_def_snaps[0].root_config_key))
    resources = yaml.safe_load(shown)["resources"]
    assert list(resources) == ["tracer", "trainer"]
    assert list(resources["tracer"]["config"].items()) == [("profile", "demo"), ("seed", 0), ("settings", [])]
    assert set(resources["trainer"]["config"]) == {"mode", "stall_seconds"}


@pytest.mark.parametrize(("job", "resource"), [("retrain", "tracer"), ("ablations", "settings")])
def test_a_profile_that_is_not_there_is_refused_with_those_that_are(
    defs: dg.Definitions, job: str, resource: str
) -> None:
    def check(profile: str) -> None:
        given = {"resources": {resource: {"config": {"profile": profile}}}}
        dg.validate_run_config(defs.resolve_job_def(job), given)

    check("qwen3vl-8b")
    with pytest.raises(dg.DagsterInvalidConfigError, match=r"one of demo, micro, .*qwen3vl-32b got dmo"):
        check("dmo")


def test_run_config_carries_every_override(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.demo import run_config
    from pipelines.resources import Tracer
    from tracer.config import load

    monkeypatch.chdir(ROOT)
    config = load(
        "micro",
        [
            "seed=3",
            "stage1.steps=7",
            "retrain.from=champion",
            f"registry.tracking_uri=sqlite:///{tmp_path}/m.db",
            "data.limit=null",
        ],
    )
    settings = run_config(config)["resources"]["tracer"]["config"]
    assert Tracer(**settings).config() == config
    assert {"stage1.steps=7", 'retrain.from="champion"'} <= set(Tracer(**settings).arguments())


@dg.asset
def stoppable(context) -> None:  # type: ignore[no-untyped-def]  # Dagster reads no postponed annotation
    """A step's body, as the assets have it."""
    from pipelines.steps import interruptible

    with interruptible(context):
        pass


def test_the_body_of_a_step_asks_dagster_for_nothing_deprecated() -> None:
    with warnings.catch_warnings(record=True) as seen, dg.DagsterInstance.ephemeral() as instance:
        warnings.simplefilter("always")
        assert dg.materialize([stoppable], instance=instance).success
    assert not [str(each.message) for each in seen if "run_id" in str(each.message)]


def test_a_backfill_over_seeds_runs_the_whole_chain_on_each(defs: dg.Definitions) -> None:
    from pipelines.resources import Tracer

    job = defs.resolve_job_def("seeds")
    assert job.partitions_def is not None and job.partitions_def.get_partition_keys()[:2] == ["0", "1"]
    given = job.get_run_config_for_partition_key("3")
    assert Tracer(**given["resources"]["tracer"]["config"]).config().seed == 3
    whole = defs.resolve_job_def("retrain")
    assert {node.name for node in job.nodes} == {node.name for node in whole.nodes}


def test_a_pod_asks_for_its_gpus_and_mounts_the_volume_of_the_manifests(defs: dg.Definitions) -> None:
    from tracer.capacity import pods

    pod = pods.spec(4, 8.0, pods.IMAGE, ["tracer"])
    container = pod["containers"][0]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "4"}
    values = yaml.safe_load((ROOT / "infra/k8s/values.yaml").read_text())
    deployment = values["dagster-user-deployments"]["deployments"][0]
    claim = yaml.safe_load((ROOT / "infra/k8s/base/volume.yaml").read_text())["metadata"]["name"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    assert deployment["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim
    assert container["volumeMounts"][0]["mountPath"] == deployment["volumeMounts"][0]["mountPath"]
    op = defs.resolve_asset_graph().get(dg.AssetKey("stage1")).assets_def.op
    tag = json.loads(op.tags["dagster-k8s/config"])["pod_spec_config"]
    assert tag == {key: pods.spec(1, 8.0, pods.IMAGE, ["tracer"])[key] for key in ("nodeSelector", "tolerations")}

"""What a registered version carries: it is loaded, asked and rebuilt here; and a killed registration leaves no half."""

from __future__ import annotations

import ast
import functools
import io
import json
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow.store.entities import PagedList

from tests.folders import Chain, step, weights
from tests.planners import trajectories
from tracer import flow
from tracer.config import Config
from tracer.lineage.code import code_of, source_of
from tracer.lineage.digest import LineageError, content_digest
from tracer.lineage.step import read_lineage
from tracer.registry import links, rebuild, register, step_runs, tracking, versions
from tracer.registry.settings import RegistryConfig
from tracer.settings import ConfigError
from tracer.trajectory import Element, State

RIGHT = [1.0, 0.0] * 6


def picture() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (160, 210), "white").save(out, "PNG")
    return out.getvalue()


STATE = State(
    goal='Click on the "Ok" button.',
    image=picture(),
    width=160,
    height=210,
    elements=(Element(role="button", text="Ok", box=(0.1, 0.1, 0.3, 0.2)),),
    history=('click the tab "One"',),
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Config]:
    root = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        yield Config.model_validate(
            {"profile": "test", "data": {"pointer": ""}, "registry": {"tracking_uri": f"sqlite:///{root}/mlflow.db"}}
        )


@pytest.fixture(scope="module")
def planner() -> Any:
    """A real planner of the tiny classes, untrained."""
    import torch

    from tracer.planner.plan import PlannerSettings
    from tracer.planner.prompt import prompt
    from tracer.planner.tiny import build_model, build_processor
    from tracer.planner.transformers import TransformersPlanner

    settings = PlannerSettings(grammar="pointing", horizon=5, history=4, image=True, max_new_tokens=8)
    processor = build_processor([prompt(STATE, settings), "click 0", 'type "x"'], 400)
    torch.manual_seed(0)
    return TransformersPlanner(build_model(processor, 64, 1), processor, settings, name="tiny")


@pytest.fixture(scope="module")
def version(config: Config, planner: Any) -> versions.Version:
    chain = Chain(config)
    evaluations = chain.stage2(1, RIGHT, RIGHT)
    folder = Path("planner")
    planner.save(folder)
    files = {f"model/{path.name}": path.read_bytes() for path in sorted(folder.iterdir())}
    sample = {"step": 1, "trajectory": "t/0", "picture": "t-0.png", "answer": "click 0", "reward": 1.0}
    files |= {
        "metrics.jsonl": [{"reward": 0.1, "unparsable": 0.5}, {"reward": 0.4, "unparsable": 0.2}],
        "samples/step-00001.jsonl": [sample, sample],
        "samples/t-0.png": picture(),
    }
    inputs = {"trajectories": chain.ingest, "stage1": config.out("stage1")}
    stage2 = step("stage2", config, config.out("stage2"), inputs, files)
    gate = step(
        "gate-stage2", config, config.out("gate-stage2"),
        {"stage": stage2, "parent": config.out("stage1"), "trajectories": chain.ingest}, {"gate.json": {"open": True}},
    )  # fmt: skip
    evaluations = {**evaluations, **chain.evaluations("stage2", stage2, RIGHT, RIGHT), "gate": gate}
    return register.register(config, stage2, evaluations)


def test_a_loaded_version_forecasts_as_the_planner_that_was_registered(
    config: Config, planner: Any, version: versions.Version
) -> None:
    loaded = versions.load("tracer-planner@challenger", config.registry)
    assert loaded.name == "tracer-planner@challenger"
    assert loaded.forecast([STATE], 5) == planner.forecast([STATE], 5)
    assert versions.load(f"models:/tracer-planner/{version.version}", config.registry).forecast([STATE], 5)


def test_every_command_takes_a_registered_planner(config: Config, version: versions.Version, tmp_path: Path) -> None:
    folder = flow.model(config, "tracer-planner@challenger")
    assert content_digest(folder) == version.tags[versions.WEIGHTS]
    given = {"ingest": trajectories(tmp_path)}
    step = flow.evaluation("offline", "tracer-planner@challenger")
    assert step.out(config) == config.out("evaluate-tracer-planner-challenger")
    done = step.run(config, given=given)
    assert done["inputs"]["model"]["digest"] == version.tags[versions.WEIGHTS] and done["metrics"]["test_states"] == 2
    with pytest.raises(versions.RegistryError, match="tracer register"):
        flow.model(config, "tracer-planner@nobody")
    with pytest.raises(ConfigError, match=r"no planner 'stage9': give one of base, stage1, stage2, a folder"):
        flow.model(config, "stage9")


def test_mlflow_has_no_advice_on_the_models_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be shown in yellow in the middle of a registration, and no filter of ours reaches it."""
    warnings.onceregistry.clear()  # type: ignore[attr-defined]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        runpy.run_path(str(Path(register.__file__).with_name("pyfunc.py")), run_name="model_code")
    assert [str(each.message) for each in seen if "type hint" in str(each.message).lower()] == []


def test_pyfunc_forecasts_too_and_nothing_is_pickled(config: Config, planner: Any, version: versions.Version) -> None:
    import mlflow
    import pandas as pd

    tracking.connect(config.registry)
    served = mlflow.pyfunc.load_model("models:/tracer-planner@challenger")
    elements = json.dumps([element.to_dict() for element in STATE.elements or ()])
    row = {"goal": STATE.goal, "image": STATE.image, "width": 160, "height": 210, "elements": elements,
           "history": json.dumps(STATE.history), "observation": ""}  # fmt: skip
    answer = served.predict(pd.DataFrame([row]), params={"horizon": 3})
    expected = planner.forecast([STATE], 3)[0]
    assert answer["text"][0] == expected.text and answer["error"][0] == expected.error
    files = [path.name for path in versions.download(version.uri, config.registry).rglob("*") if path.is_file()]
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".bin"))]
    for needed in (
        "model.safetensors",
        "planner.json",
        "tokenizer.json",
        "lineage.json",
        "requirements.txt",
        "trajectory.py",
    ):
        assert needed in files, needed


def test_pyfunc_refuses_weights_that_were_changed(config: Config, version: versions.Version) -> None:
    import mlflow

    stored = versions.weights(versions.download(version.uri, config.registry)) / "model.safetensors"
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for load in (mlflow.pyfunc.load_model, lambda uri: flow.model(config, uri)):
        with pytest.raises((LineageError, versions.RegistryError), match="not those that were registered"):
            load(version.uri)
    stored.write_bytes(whole)


def test_each_step_is_a_run_with_its_history_dataset_and_samples(config: Config, version: versions.Version) -> None:
    client = tracking.connect(config.registry)
    experiment = client.get_experiment_by_name("tracer")
    runs = {run.data.tags["tracer.step"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"stage1", "stage2", "evaluate", "online", "validate", "gate-stage2"}
    run = runs["stage2"]
    assert run.info.run_id == version.run_id and run.data.params["stage2.group_size"] == "8"
    assert [point.value for point in client.get_metric_history(run.info.run_id, "reward")] == [0.1, 0.4]
    dataset = run.inputs.dataset_inputs[0].dataset
    assert (
        dataset.name == "data/raw"
        and dataset.digest == read_lineage(config.out("stage2"))["inputs"]["trajectories"]["digest"][:36]
    )
    files = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"lineage.json", "metrics.jsonl", "samples.json"} <= files
    logged = client.get_logged_model(
        client.get_model_version("tracer-planner", version.version).source.rpartition("/")[2]
    )
    assert {"splits.test.metrics.step.mean"} <= {metric.key for metric in logged.metrics}


def test_lineage_of_a_version_rebuilds_it(config: Config, version: versions.Version) -> None:
    found = rebuild.lineage_of(version.uri, config.registry)
    assert list(found.steps) == ["ingest", "stage1", "stage2"]
    assert found.steps["stage2"]["output"] == version.output
    commands = "\n".join(found.commands)
    assert f"OMP_NUM_THREADS={torch.get_num_threads()} tracer train stage2 --profile test --seed 0" in commands
    assert """--set 'data.pointer=""'""" in commands
    assert commands.index("tracer ingest") < commands.index("train stage1") < commands.index("train stage2")


def test_registering_again_finds_the_version(config: Config, version: versions.Version) -> None:
    evaluations = {step: config.out(folder) for step, folder in
                   (("evaluate", "evaluate-stage2"), ("validate", "validate"), ("gate", "gate-stage2"))}  # fmt: skip
    assert register.register(config, config.out("stage2"), evaluations) == version


def test_a_killed_registration_leaves_no_half_version(
    config: Config, version: versions.Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = tracking.connect(config.registry)
    folder = step(
        "stage2", config, Path("other"), {"trajectories": config.out("ingest"), "stage1": config.out("stage1")},
        {"model/model.safetensors": weights(7), "model/config.json": {}, "metrics.jsonl": [{"reward": 1.0}]},
    )  # fmt: skip
    logged = step_runs.log_samples

    def killed(*arguments: Any) -> None:
        logged(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(step_runs, "log_samples", killed)
        with pytest.raises(KeyboardInterrupt):
            register.register(config, folder, {})
    with monkeypatch.context() as patch:  # killed again, with the model logged and no version yet
        patch.setattr(register, "content_digest", killed)
        with pytest.raises((KeyboardInterrupt, TypeError)):
            register.register(config, folder, {})
    assert len(client.search_model_versions("name = 'tracer-planner'")) == 1
    made = register.register(config, folder, {})
    assert made.version == version.version + 1 and made.aliases == ("challenger",)
    experiment = client.get_experiment_by_name("tracer").experiment_id
    assert not client.search_runs([experiment], filter_string="attributes.status != 'FINISHED'")
    models = client.search_logged_models(experiment_ids=[experiment], filter_string=f"source_run_id = '{made.run_id}'")
    assert len(models) == 1


def test_a_chain_that_does_not_hold_together_is_refused(config: Config, version: versions.Version) -> None:
    other = step("stage1", config, Path("elsewhere"), {}, {"model/model.safetensors": weights(9)})
    foreign = step("evaluate", config, Path("foreign"), {"model": other}, {"results.jsonl": []})
    with pytest.raises(LineageError, match="was made with another model"):
        register.register(config, config.out("stage2"), {"evaluate": foreign})
    weight = config.out("stage2") / "model" / "planner.json"
    before = weight.read_text()
    weight.write_text(before + " ")
    with pytest.raises(LineageError, match="has changed since"):
        register.register(config, config.out("stage2"), {})
    weight.write_text(before)


def test_what_is_not_there_is_named_with_the_fix(config: Config, version: versions.Version) -> None:
    hint = f"`tracer promote --profile {config.profile}` a champion"
    with pytest.raises(versions.RegistryError, match=hint):
        versions.load("tracer-planner@champion", config.registry)
    with pytest.raises(versions.RegistryError, match="`tracer promote` a champion"):  # nobody said which profile
        versions.load("tracer-planner@champion", RegistryConfig(tracking_uri=config.registry.tracking_uri))


def test_a_version_says_what_it_is(config: Config, version: versions.Version) -> None:
    client = tracking.connect(config.registry)
    text = client.get_model_version(version.name, str(version.version)).description
    assert text.startswith("**stage2** of profile `test`, seed 0, made from ")
    note = client.get_run(version.run_id).data.tags["mlflow.note.content"]
    assert text.startswith(note) and "\n| files | " in note, "the run's page begins with the same"
    assert 'versions.load("tracer-planner@challenger")' in text and "`tracer lineage NAME/VERSION`" in text
    metrics = {"test_step": 0.543, "test_states": 300, "test_prefix_share": 0.2, "anticipatory_heldout": 0.25}
    assert register.numbers(metrics) == "test, step 54.3 %; anticipatory, heldout 25.0 %"


def test_a_version_asks_for_every_library_that_loading_its_planner_imports() -> None:
    names: set[str] = set()
    for module in code_of("tracer.planner.transformers").modules:
        path = source_of(module)
        assert path is not None
        for node in ast.parse(path.read_bytes()).body:  # what functions import, they may never need
            names |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
    imported = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"tracer"}
    known = {"PIL": "pillow", "yaml": "pyyaml"}
    assert {"torch", "llguidance"} <= imported
    assert {known.get(name, name) for name in imported} <= set(register.REQUIREMENTS)


def test_everything_on_mlflows_pages_is_found() -> None:
    pages = {None: PagedList([1, 2], "a"), "a": PagedList([3], "b"), "b": PagedList([4], None)}
    assert list(tracking.paged(pages.__getitem__)) == [1, 2, 3, 4]


def test_the_report_is_attached_to_the_version_that_it_is_about(config: Config, version: versions.Version) -> None:
    assert register.register(config, config.out("stage2"), {}) == version
    about = {"stage2": config.out("stage2")}
    report = step("report", config, Path("reports") / "right", about, {"report.html": b"<h1>Right</h1>"})
    page = register.attach_report(config, report)
    run = tracking.connect(config.registry).get_run(version.run_id)
    assert page == f"{links.run_page(config.registry, run.info.experiment_id, version.run_id)}/artifacts/report.html"
    assert (Path(run.info.artifact_uri.removeprefix("file://")) / "report.html").read_bytes() == b"<h1>Right</h1>"
    again = step("report", config, Path("reports") / "again", about, {"report.html": b"<h1>Again</h1>"})
    for _ in range(2):  # of the register step, and of its asset, which asks for the address
        register.attach_report(config, again)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_artifact", lambda *_: pytest.fail("it is attached already"))
        assert register.attach_report(config, again) == page
    assert (Path(run.info.artifact_uri.removeprefix("file://")) / "report.html").read_bytes() == b"<h1>Again</h1>"
    other = step("report", config, Path("reports") / "other", {"stage1": config.out("stage1")}, {"report.html": b""})
    assert register.attach_report(config, other) is None
    assert register.attach_report(config, Path("reports") / "none") is None


@pytest.mark.parametrize(
    ("given", "pages"),
    [
        ({"tracking_uri": "sqlite:///mlflow.db"}, "http://127.0.0.1:5010"),
        (
            {"tracking_uri": "https://me:secret@mlflow.example.org/team/"},  # pragma: allowlist secret
            "https://mlflow.example.org/team",
        ),
        ({"tracking_uri": "http://mlflow:5000", "pages": "https://mlflow.example.org"}, "https://mlflow.example.org"),
    ],
)
def test_links_lead_to_mlflows_pages(given: dict[str, str], pages: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_PORT", "5010")
    config = RegistryConfig.model_validate(given)
    assert links.version_page(config, "tracer-planner", 3) == f"{pages}/#/models/tracer-planner/versions/3"


def test_what_is_made_at_the_same_time_by_another_or_while_the_database_is_busy_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracer.registry.tracking.time.sleep", lambda seconds: None)
    config = RegistryConfig(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    client = tracking.connect(config)
    plain = {name: getattr(client, name) for name in ("create_experiment", "create_registered_model")}
    failures = ["busy", "beaten"] * 2

    def create(method: str, *given: Any, **options: Any) -> Any:
        failure = failures.pop(0) if failures else None
        if failure != "busy":
            made = plain[method](*given, **options)
        if failure:
            raise tracking.mlflow_error()("the database is locked, or it was made meanwhile")
        return made

    for name in plain:
        monkeypatch.setattr(client, name, functools.partial(create, name))
    number = tracking.experiment(client, config, "tried")
    assert number == client.get_experiment_by_name("tried").experiment_id and len(failures) == 2
    tracking.registered_model(client, "model", "About it.")
    assert [each.description for each in client.search_registered_models()] == ["About it."] and not failures

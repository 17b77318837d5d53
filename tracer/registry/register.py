"""Registering a stage's output as a model version, with its runs, its evaluations and its lineage."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tracer
from tracer.config import Config
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import LineageError, content_digest, finished
from tracer.lineage.step import read_lineage, verify_output
from tracer.planner.lora import model_folder
from tracer.registry import links, signing, step_runs, tracking, users, versions
from tracer.registry.episodes import listed
from tracer.registry.rebuild import CHAIN, document, starts_from
from tracer.registry.rebuildable import reasons
from tracer.reporting.report import PAGE
from tracer.training.replay import EPISODES
from tracer.trajectory import SPLITS

RECEIPT = "registered.json"
"""Beside the steps' folders: which version theirs is."""
REPORT = "tracer.report"
"""The output of the report that is attached to a version's run."""
SCORED = ("evaluate", "online")
"""The evaluations whose numbers a version's description gives."""
REQUIREMENTS = (
    "torch", "transformers", "tokenizers", "safetensors", "llguidance", "pillow", "pydantic", "pyyaml", "rapidfuzz",
)  # fmt: skip
# The columns of a state, of which only the goal is required: type and meaning.
FIELDS = {
    "goal": "string",
    "image": "binary",
    "width": "long",
    "height": "long",
    "elements": "string",  # a JSON list of Element.to_dict()
    "history": "string",  # a JSON list of the past steps' instructions
    "observation": "string",
}


def register(config: Config, folder: Path, evaluations: Mapping[str, Path]) -> versions.Version:
    """Register a stage's output folder as a version with the alias ``challenger``; return the version.

    ``evaluations`` maps ``evaluate``, ``online`` (where there is one) and ``validate`` to their folders. Every training
    step of the chain and every evaluation becomes a run. The same folder again finds its version. The version is
    created last, from a model that is logged whole, so that an interruption leaves no incomplete one behind. Where
    ``signing.KEY`` names a key, it is signed, also one that was there. Raises ``LineageError`` for a folder, or a
    chain, whose contents are not what its lineage says, and ``ConfigError`` for a key that cannot be used.
    """
    key = signing.private_key()
    lineages = chain(folder)
    lineage = verify_output(folder)
    check_evaluations(folder, lineages, evaluations)
    client = tracking.connect(config.registry)
    name = config.registry.model
    tracking.registered_model(client, name, "Forecasts the next steps on a screen (TraceR1).")
    for step in lineages.values():
        path = Path(step["path"])
        if (path / "metrics.jsonl").is_file() and step["digest"] != lineage["digest"]:
            step_runs.log_step(client, config, path)
    run_id = step_runs.log_step(client, config, folder)
    version = versions.find(client, name, lineage)
    made = document(config, lineages)
    model_id: str | None = None
    tags: dict[str, str] = {}
    if version is None or key:
        with tempfile.TemporaryDirectory() as temporary:
            files = artifacts(folder, made, Path(temporary))
            model_id = log_model(client, config, run_id, files) if version is None else None
            tags |= {signing.SIGNATURE: signing.sign(name, files.values(), key)} if key else {}
    tags |= {
        f"{versions.EVALUATION}{step}": step_runs.log_step(
            client, config, path, model_id if step != "validate" else None
        )
        for step, path in evaluations.items()
    }
    tags[versions.NOT_REBUILDABLE] = json.dumps(reasons(config, made, folder))
    if version is None:
        tags |= _tags(config, folder, lineage, made)
        about = described(config, lineage, evaluations, starts_from(made))
        created = tracking.persistently(
            lambda: client.create_model_version(
                name, source=f"models:/{model_id}", run_id=run_id, tags=tags, model_id=model_id, description=about
            )
        )
        number = str(created.version)
    else:
        number = str(version.version)
        for tag, value in tags.items():
            client.set_model_version_tag(name, number, tag, value)
    client.set_registered_model_alias(name, versions.CHALLENGER, number)
    found = versions.read(client.get_model_version(name, number))
    write_json(config.folder / RECEIPT, {"uri": found.uri, "digest": found.digest, "output": found.output})
    return found


def attach_report(config: Config, report: Path) -> str | None:
    """Attach a report to the run of the version that it is about; the address of its page in MLflow.

    None where either is not there yet: what is made last, of report and version, brings them together.
    """
    made, receipt = finished(report), config.out(RECEIPT)
    registered = read_json(receipt) if receipt.is_file() else {}
    if made is None or registered.get("output") not in {source["digest"] for source in made["inputs"].values()}:
        return None
    client = tracking.connect(config.registry)
    version = versions.find(client, config.registry.model, registered)
    if version is None:
        return None
    run = client.get_run(version.run_id)
    if run.data.tags.get(REPORT) != made["output"]:
        client.log_artifact(version.run_id, str(report / PAGE))
        client.set_tag(version.run_id, REPORT, made["output"])
    return links.run_page(config.registry, run.info.experiment_id, run.info.run_id, PAGE)


def described(config: Config, lineage: Mapping[str, Any], evaluations: Mapping[str, Path], start: str = "") -> str:
    """What MLflow shows of a version, as Markdown: what it is, from what, how good, how to load and to rebuild it."""
    scores = {step: read_lineage(path)["metrics"] for step, path in evaluations.items() if step in SCORED}
    lines = [
        step_runs.described(config, lineage, start),
        *(f"- {step}: {shown}" for step, found in scores.items() if (shown := numbers(found))),
        f'Load it: `tracer.registry.versions.load("{config.registry.model}@{versions.CHALLENGER}")` gives a planner, '
        "`mlflow.pyfunc.load_model` a model. Compare it: `tracer promote`.",
        "Rebuild it: `tracer reproduce NAME/VERSION`; `tracer lineage NAME/VERSION` prints the commands.",
    ]
    return "\n\n".join(lines)


def numbers(metrics: Mapping[str, Any]) -> str:
    """The headline metrics that people ask for: step success, forecast similarity, and task success by agent."""
    shown = {
        name.replace("_", ", "): value
        for name, value in metrics.items()
        if isinstance(value, float) and (name.count("_") == 1 and name.split("_")[1] in ("step", "similarity", *SPLITS))
    }
    return "; ".join(f"{name} {100 * value:.1f} %" for name, value in shown.items())


def _tags(config: Config, folder: Path, lineage: Mapping[str, Any], made: Mapping[str, Any]) -> dict[str, str]:
    return {
        tracking.DIGEST: lineage["digest"],
        versions.OUTPUT: lineage["output"],
        versions.WEIGHTS: content_digest(weights_folder(folder)),
        versions.AUTHOR: users.current(config.registry),
        "tracer.profile": config.profile,
        "tracer.seed": str(config.seed),
        versions.DATA: made["data"]["md5"] or versions.NOT_TRACKED,
        **({versions.START: starts_from(made)} if starts_from(made) else {}),
        "tracer.commit": (lineage["git"] or {}).get("commit") or "unknown",
    }


def chain(folder: Path) -> dict[str, dict[str, Any]]:
    """The lineages of a folder and of everything it was made from, inputs first, each with its ``path``.

    Raises ``LineageError`` where an input is no longer what the folder was made from.
    """
    lineage = {**read_lineage(folder), "path": str(folder)}
    found: dict[str, dict[str, Any]] = {}
    for name, source in lineage["inputs"].items():
        path = Path(source["path"])
        upstream = finished(path) if path.is_dir() else None
        if upstream is None:
            continue  # raw data, or a base from elsewhere: its digest in this lineage is all there is
        if upstream["output"] != source["digest"]:
            raise LineageError(
                f"{folder} was made from another {name} than {path} now holds; run the steps after {path} again"
            )
        found |= chain(path)
    return found | {lineage["step"]: lineage}


def check_evaluations(folder: Path, lineages: Mapping[str, Any], evaluations: Mapping[str, Path]) -> None:
    """Raise ``LineageError`` for an evaluation of another model, or of other data, than the folder's."""
    output = read_lineage(folder)["output"]
    chained = {lineage["output"] for lineage in lineages.values()}
    chained |= {source["digest"] for lineage in lineages.values() for source in lineage["inputs"].values()}
    for step, path in evaluations.items():
        for name, source in verify_output(path)["inputs"].items():
            if source["digest"] not in ({output} if name in ("model", "stage") else chained):
                raise LineageError(
                    f"{path} ({step}) was made with another {name} ({source['path']}) than {folder}; "
                    f"run that evaluation again"
                )


def artifacts(folder: Path, made: Mapping[str, Any], to: Path) -> dict[str, Path]:
    """The files of a version: its weights, its lineage (``made``, of ``rebuild.document``) and its episodes."""
    write_json(to / CHAIN, {**made, "weights": content_digest(weights_folder(folder))})
    source = read_lineage(folder)["inputs"].get("trajectories")
    write_json(to / EPISODES, listed(Path(source["path"])) if source else {})
    return {"planner": weights_folder(folder), "lineage": to / CHAIN, "episodes": to / EPISODES}


def log_model(client: Any, config: Config, run_id: str, files: Mapping[str, Path]) -> str:
    """Log the planner as a model of the run, with ``artifacts``; return the model's id.

    It is whole when this returns.
    """
    import mlflow
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    signature = ModelSignature(
        inputs=Schema([ColSpec(kind, column, required=column == "goal") for column, kind in FIELDS.items()]),
        outputs=Schema(
            [ColSpec("string", column, required=column != "forecast") for column in ("text", "forecast", "error")]
        ),
        params=ParamSchema([ParamSpec("horizon", DataType.long, config.planner.horizon)]),
    )
    tracking.delete_models(client, client.get_run(run_id).info.experiment_id, run_id)
    client.set_tag(run_id, tracking.WRITER, tracking.writer())  # the run is open again, for `tracer gc` to leave alone
    with mlflow.start_run(run_id=run_id), warnings.catch_warnings():
        # It asks for an example of the input, to hold the signature to, which a test does.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.pyfunc")
        info = mlflow.pyfunc.log_model(
            name="planner",
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={name: str(path) for name, path in files.items()},
            code_paths=[str(Path(tracer.__file__).parent)],
            signature=signature,
            pip_requirements=requirements(),
        )
    return str(info.model_id)


def weights_folder(folder: Path) -> Path:
    """Where a stage's weights are; raises ``RegistryError``."""
    path = model_folder(folder)
    if not any(path.glob("*.safetensors")):
        raise tracking.RegistryError(f"{path} contains no weights (*.safetensors); run the stage that makes them")
    return path


def requirements() -> list[str]:
    """What the model needs besides the code it carries, at the versions it was made with."""
    return ["mlflow==" + importlib.metadata.version("mlflow")] + [
        f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS
    ]

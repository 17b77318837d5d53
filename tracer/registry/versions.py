"""The registry: what a model version carries, how it gets there, and how it is loaded and rebuilt.

A version of ``tracer-planner`` holds weights, processor, prompt grammar, signature, requirements, the library's code
and ``lineage.json``, the lineages of every step from the raw data on. ``promotion`` decides the champion.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tracer
from tracer.config import Config
from tracer.config import load as load_config
from tracer.json_files import flatten, write_json
from tracer.lineage.digest import LineageError, content_digest, finished
from tracer.lineage.step import read_lineage, verify_output
from tracer.planner.adapter import model_folder
from tracer.planner.plan import Planner
from tracer.registry import tracking
from tracer.registry.settings import RegistryConfig
from tracer.settings import ConfigError
from tracer.stages import STAGES

CHALLENGER, CHAMPION = "challenger", "champion"
OUTPUT = "tracer.output"
WEIGHTS = "tracer.weights"  # the digest of the registered model folder
EVALUATION = "tracer.evaluation."  # + step: the run that holds the evaluation
CHAIN = "lineage.json"
RECEIPT = "registered.json"  # beside the steps' folders: which version theirs is
REQUIREMENTS = ("torch", "transformers", "tokenizers", "safetensors", "pillow", "pydantic", "pyyaml", "rapidfuzz")
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


class RegistryError(RuntimeError):
    """A model, version or alias that is not there, or not whole; the message names the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One version of the registered model."""

    name: str
    version: int
    digest: str
    """The digest of the stage that made it."""
    output: str
    """The digest of the stage's files."""
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """The URI under which MLflow loads it."""
        return f"models:/{self.name}/{self.version}"

    def evaluations(self) -> dict[str, str]:
        """Evaluation step (``evaluate``, ``online``, ``validate``) -> id of the run that logged it."""
        return {key.removeprefix(EVALUATION): run for key, run in self.tags.items() if key.startswith(EVALUATION)}


def register(config: Config, folder: Path, evaluations: Mapping[str, Path]) -> Version:
    """Register a stage's output folder as a version with the alias ``challenger``; return the version.

    ``evaluations`` maps ``evaluate``, ``online`` (where there is one) and ``validate`` to their folders. Every training
    step of the chain and every evaluation becomes a run. The same folder again finds its version. Versions are
    created last, from a model that is logged whole, so a kill leaves none behind that is half. Raises
    ``LineageError`` for a folder, or a chain, whose contents are not what its lineage says.
    """
    lineages = chain(folder)
    lineage = verify_output(folder)
    evaluated(folder, lineages, evaluations)
    client = tracking.connect(config.registry)
    name = config.registry.model
    if not client.search_registered_models(filter_string=f"name = '{name}'"):
        client.create_registered_model(name, description="Forecasts the next steps on a screen (TraceR1).")
    for step in lineages.values():
        path = Path(step["path"])
        if (path / "metrics.jsonl").is_file() and step["digest"] != lineage["digest"]:
            tracking.log_step(client, config, path)
    run_id = tracking.log_step(client, config, folder)
    version = find(client, name, lineage)
    model_id = None if version is not None else log_model(client, config, run_id, folder, lineages)
    tags = {
        f"{EVALUATION}{step}": tracking.log_step(client, config, path, model_id if step != "validate" else None)
        for step, path in evaluations.items()
    }
    if version is None:
        tags |= {
            tracking.DIGEST: lineage["digest"],
            OUTPUT: lineage["output"],
            WEIGHTS: content_digest(weights_folder(folder)),
            "tracer.profile": config.profile,
            "tracer.seed": str(config.seed),
            "tracer.data": tracking.data_digest(config) or "not tracked",
            "tracer.commit": (lineage["git"] or {}).get("commit") or "unknown",
        }
        source = f"models:/{model_id}"
        number = str(
            client.create_model_version(name, source=source, run_id=run_id, tags=tags, model_id=model_id).version
        )
    else:
        number = str(version.version)
        for key, value in tags.items():
            client.set_model_version_tag(name, number, key, value)
    client.set_registered_model_alias(name, CHALLENGER, number)
    made = _version(client.get_model_version(name, number))
    write_json(config.folder / RECEIPT, {"uri": made.uri, "digest": made.digest, "output": made.output})
    return made


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


def evaluated(folder: Path, lineages: Mapping[str, Any], evaluations: Mapping[str, Path]) -> None:
    """Refuse evaluations of another model, or of other data, than the folder's."""
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


def log_model(client: Any, config: Config, run_id: str, folder: Path, lineages: Mapping[str, Any]) -> str:
    """Log the planner as a model of the run; return the model's id. It is whole when this returns."""
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
    with tempfile.TemporaryDirectory() as temporary:
        document = Path(temporary) / CHAIN
        # What differs from the profile is recorded now: a later checkout's profile may say something else.
        chain = {"profile": config.profile, "seed": config.seed, "overrides": changed(config)}
        chain |= {"config": config.model_dump(mode="json"), "steps": dict(lineages), "data": data_of(config)}
        write_json(document, chain)
        # MLflow advises type hints and an input example, from which it would infer what is given here explicitly.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"mlflow\.pyfunc")
        with mlflow.start_run(run_id=run_id):
            info = mlflow.pyfunc.log_model(
                name="planner",
                python_model=str(Path(__file__).with_name("pyfunc.py")),
                artifacts={"planner": str(weights_folder(folder)), "lineage": str(document)},
                code_paths=[str(Path(tracer.__file__).parent)],
                signature=signature,
                pip_requirements=requirements(),
            )
    return str(info.model_id)


def weights_folder(folder: Path) -> Path:
    """Where a stage's weights are; raises ``RegistryError``."""
    path = model_folder(folder)
    if not any(path.glob("*.safetensors")):
        raise RegistryError(f"{path} contains no weights (*.safetensors); run the stage that makes them")
    return path


def data_of(config: Config) -> dict[str, Any]:
    """Where the data is, and the md5 that DVC pins for it."""
    return {"path": config.data.path, "pointer": config.data.pointer, "md5": tracking.data_digest(config)}


def requirements() -> list[str]:
    """What the model needs besides the code it carries, at the versions it was made with."""
    return ["mlflow==" + importlib.metadata.version("mlflow")] + [
        f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in REQUIREMENTS
    ]


def find(client: Any, name: str, lineage: Mapping[str, Any]) -> Version | None:
    """The version made by a step of this digest with these very files, or None.

    On hardware that does not repeat itself bit for bit one recipe can make two models: those are two versions.
    """
    query = f"name = '{name}' and tags.`{tracking.DIGEST}` = '{lineage['digest']}'"
    found = [_version(item) for item in client.search_model_versions(query)]
    same = [version for version in found if version.output == lineage["output"]]
    return same[0] if same else None


def version_of(where: str, config: RegistryConfig) -> Version:
    """The version of ``name@alias``, ``name/3``, or either with ``models:/`` before it; raises ``RegistryError``."""
    from mlflow.exceptions import MlflowException

    client = tracking.connect(config)
    name, at, alias = where.removeprefix("models:/").partition("@")
    number = ""
    if not at:
        name, _, number = name.partition("/")
    try:
        found = client.get_model_version_by_alias(name, alias) if at else client.get_model_version(name, number)
    except MlflowException as error:
        raise RegistryError(
            f"{config.tracking_uri} has no {where} ({error.message}); `tracer register` makes a challenger, and "
            f"`tracer promote` a champion if it passes the gate"
        ) from error
    return _version(found)


def aliased(config: RegistryConfig, alias: str) -> Version | None:
    """The version that an alias points at, or None."""
    client = tracking.connect(config)
    models = client.search_registered_models(filter_string=f"name = '{config.model}'")
    number = models[0].aliases.get(alias) if models else None
    return _version(client.get_model_version(config.model, str(number))) if number is not None else None


def _version(found: Any) -> Version:
    return Version(
        name=found.name,
        version=int(found.version),
        digest=found.tags.get(tracking.DIGEST, ""),
        output=found.tags.get(OUTPUT, ""),
        run_id=found.run_id or "",
        aliases=tuple(found.aliases or ()),
        tags=dict(found.tags),
    )


def download(where: str, config: RegistryConfig | None = None) -> Path:
    """The local folder of a version's files (``artifacts/model`` are the weights); raises ``RegistryError``."""
    import mlflow

    config = config or registry_config()
    return Path(mlflow.artifacts.download_artifacts(version_of(where, config).uri))


def load(where: str, config: RegistryConfig | None = None) -> Planner:
    """The planner of a registered version, such as ``tracer-planner@champion``; raises ``RegistryError``."""
    from tracer.planner.transformers import TransformersPlanner

    planner = TransformersPlanner.load(weights(download(where, config)))
    planner.name = where
    return planner


def weights(downloaded: Path) -> Path:
    """The model folder inside a version's files, by the name it was logged under."""
    found = sorted(path.parent for path in (downloaded / "artifacts").glob("*/*.safetensors"))
    if not found:
        raise RegistryError(f"{downloaded} contains no weights; its artifact store has lost them")
    return found[0]


def registry_config() -> RegistryConfig:
    """The registry of params.yaml, or the default where there is no such file."""
    try:
        return load_config().registry
    except ConfigError:
        return RegistryConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything that made a version."""

    version: Version
    steps: Mapping[str, Mapping[str, Any]]
    commands: Sequence[str]
    """What rebuilds it, from a clone of the repository."""


def lineage_of(where: str, config: RegistryConfig | None = None) -> Lineage:
    """The chain of lineages of a registered version, and the commands that rebuild it; raises ``RegistryError``."""
    config = config or registry_config()
    document = json.loads((download(where, config) / "artifacts" / CHAIN).read_text())
    return Lineage(version=version_of(where, config), steps=document["steps"], commands=rebuild_commands(document))


COMMANDS = {"ingest": "ingest", **{stage.name: f"train {stage.name}" for stage in STAGES}}


def rebuild_commands(document: Mapping[str, Any]) -> list[str]:
    """The commands that make the version again, from a clone on."""
    steps = document["steps"]
    last = list(steps.values())[-1]
    commit, dirty = (last["git"] or {}).get("commit"), (last["git"] or {}).get("dirty")
    commands = [f"git checkout {commit}" if commit else "# the code was not in a git checkout"]
    if dirty:
        commands.append(
            "# the working tree differed from that commit; the digests below decide whether yours is the same"
        )
    commands.append(f"python -m pip install -c constraints.txt -e .  # constraints.txt has sha256 {last['lock']}")
    if document["data"]["pointer"]:
        commands.append(f"dvc pull {document['data']['pointer']}  # md5 {document['data']['md5']}")
    known = flatten(document["config"])
    for step, lineage in steps.items():
        if step in COMMANDS:
            # Where a step was made with other settings than it was registered with, its own count.
            made = flatten(lineage["config"])
            own = {key: value for key, value in made.items() if key in known and known[key] != value}
            overrides = {**document["overrides"], **own}
            words = [f"--set {shlex.quote(f'{key}={json.dumps(value)}')}" for key, value in overrides.items()]
            settings = " ".join([f"--profile {document['profile']} --seed {document['seed']}", *words])
            threads = lineage["hardware"].get("threads")
            bits = f"OMP_NUM_THREADS={threads} " if threads else ""
            commands.append(f"{bits}tracer {COMMANDS[step]} {settings}  # output {lineage['output']}")
    return commands


def changed(config: Config) -> dict[str, Any]:
    """What the configuration has otherwise than its profile in params.yaml."""
    ours = flatten(config.model_dump(mode="json"))
    try:
        theirs = flatten(load_config(config.profile, [f"seed={config.seed}"]).model_dump(mode="json"))
    except ConfigError:
        theirs = flatten(Config(profile=config.profile, seed=config.seed).model_dump(mode="json"))
    return {key: value for key, value in ours.items() if theirs.get(key) != value}

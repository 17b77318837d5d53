"""The versions of the registered model: finding, downloading and loading them.

A version of ``tracer-planner`` holds weights, processor, prompt grammar, signature, requirements, the library's code
and ``lineage.json``, the lineages of every step from the raw data on. ``register`` makes versions, ``rebuild`` says how
one was made, and ``promotion`` decides which is champion.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.config import load as load_config
from tracer.lineage.digest import content_digest
from tracer.planner.plan import Planner
from tracer.registry import policy as policies
from tracer.registry import record, signing, tracking
from tracer.registry.record import CHAMPION
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError, UnknownVersion
from tracer.settings import ConfigError

CHALLENGER = "challenger"
OUTPUT = "tracer.output"
WEIGHTS = "tracer.weights"  # the digest of the registered model folder
AUTHOR = "tracer.author"  # the user who registered it
DATA, NOT_TRACKED = "tracer.data", "not tracked"  # the md5 of the pinned data, where DVC tracks it
START = "tracer.start"  # the version that training started from, where it was one
NOT_REBUILDABLE = "tracer.not_rebuildable"  # why it cannot be made again from a clone, as a JSON list
EVALUATION = "tracer.evaluation."  # + step: the run that holds the evaluation
LAST = 2**31 - 1
"""The largest version number that MLflow's databases hold."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers for a model, a version or an alias that is not there."""


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
    model_id: str
    """The logged model that it is."""
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """The URI under which MLflow loads it."""
        return f"models:/{self.name}/{self.version}"

    @property
    def not_rebuildable(self) -> list[str]:
        """Why it cannot be made again from a clone; empty where nothing was found that stands against it."""
        unknown = '["its tag that would say so was deleted"]'
        return list(json.loads(self.tags.get(NOT_REBUILDABLE, unknown)))

    def evaluations(self) -> dict[str, str]:
        """Evaluation step (``evaluate``, ``online``, ``validate``) -> id of the run that logged it."""
        return {key.removeprefix(EVALUATION): run for key, run in self.tags.items() if key.startswith(EVALUATION)}


def find(client: Any, name: str, lineage: Mapping[str, Any]) -> Version | None:
    """The version made by a step of this digest with these very files, or None.

    On hardware that does not repeat itself bit for bit one recipe can make two models: those are two versions.
    """
    query = f"name = '{name}' and tags.`{tracking.DIGEST}` = '{lineage['digest']}'"
    found = [read(item) for item in client.search_model_versions(query)]
    same = [version for version in found if version.output == lineage["output"]]
    return min(same, key=lambda version: version.version, default=None)


def version_of(where: str, config: RegistryConfig) -> Version:
    """The version of ``name@alias``, ``name/3``, or either with ``models:/`` before it.

    Raises ``UnknownVersion``, and ``RegistryError`` for an alias ``champion`` that no decision set.
    """
    from mlflow.exceptions import MlflowException

    client = tracking.connect(config)
    name, at, alias = where.removeprefix("models:/").partition("@")
    number = ""
    if not at:
        name, _, number = name.partition("/")
    if number.isdecimal() and int(number) > LAST:
        raise UnknownVersion(f"{config.tracking_uri} has no {where}: version numbers end at {LAST}")
    if (name, alias) == (config.model, CHAMPION):
        record.settle(config)
    try:
        found = client.get_model_version_by_alias(name, alias) if at else client.get_model_version(name, number)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        raise UnknownVersion(
            f"{config.tracking_uri} has no {where} ({error.message}); `{config.command('register')}` makes a "
            f"challenger, and `{config.command('promote')}` a champion if it passes the gate"
        ) from error
    return read(found)


def aliased(config: RegistryConfig, alias: str) -> Version | None:
    """The version that an alias points at, or None."""
    client = tracking.connect(config)
    number = tracking.alias(client, config.model, alias)
    return None if number is None else numbered(config, number)


def numbered(config: RegistryConfig, number: int) -> Version:
    """The version of that number."""
    return read(tracking.connect(config).get_model_version(config.model, str(number)))


def every(config: RegistryConfig) -> list[Version]:
    """Every version, in their order."""
    import mlflow

    tracking.connect(config)
    found = mlflow.search_model_versions(filter_string=f"name = '{config.model}'")
    return sorted((read(each) for each in found), key=lambda version: version.version)


def marked(config: RegistryConfig) -> dict[int, str]:
    """Version number -> why it cannot be made again from a clone, for those that cannot."""
    return {each.version: "; ".join(each.not_rebuildable) for each in every(config) if each.not_rebuildable}


def data_of(found: Iterable[Version]) -> dict[str, str]:
    """The md5s of the pinned data that versions were made of, each with their numbers in words."""
    numbers: dict[str, list[str]] = {}
    for version in found:
        md5 = version.tags.get(DATA, NOT_TRACKED)
        if md5 != NOT_TRACKED:
            numbers.setdefault(md5, []).append(str(version.version))
    return {md5: ", ".join(each) for md5, each in numbers.items()}


def read(found: Any) -> Version:
    """A version as MLflow's client returns it."""
    return Version(
        name=found.name,
        version=int(found.version),
        digest=found.tags.get(tracking.DIGEST, ""),
        output=found.tags.get(OUTPUT, ""),
        run_id=found.run_id or "",
        model_id=found.model_id or found.source.rpartition("/")[2],
        aliases=tuple(found.aliases or ()),
        tags=dict(found.tags),
    )


def download(where: str, config: RegistryConfig | None = None) -> Path:
    """The local folder of a version's files (``artifacts/model`` are the weights); raises ``RegistryError``."""
    import mlflow

    config = config or registry_config()
    return Path(mlflow.artifacts.download_artifacts(version_of(where, config).uri))


def load(where: str, config: RegistryConfig | None = None) -> Planner:
    """The planner of a registered version, such as ``tracer-planner@champion``.

    Raises ``RegistryError``, also for weights that are not those that were registered.
    """
    from tracer.planner.transformers import TransformersPlanner

    planner = TransformersPlanner.load(model(where, config or registry_config()))
    planner.name = where
    return planner


def model(where: str, config: RegistryConfig) -> Path:
    """The local model folder of a version.

    Raises ``RegistryError``, also for files that are not those registered, or not signed where the policy asks for it.
    """
    version = version_of(where, config)
    require_signed(version, config)
    folder = weights(download(version.uri, config))
    if content_digest(folder) != version.tags.get(WEIGHTS):
        raise RegistryError(f"the weights of {version.uri} are not those that were registered: restore {folder}")
    return folder


def unsigned(version: Version, config: RegistryConfig) -> str:
    """What is wrong with a version's signature; empty where nothing is, or where the policy asks for none."""
    path = Path(config.policy)
    public_key = policies.load(path).public_key if path.is_file() else None
    if public_key is None:
        return ""
    return signing.fault(version.tags.get(signing.SIGNATURE), download(version.uri, config) / "artifacts", public_key)


def require_signed(version: Version, config: RegistryConfig) -> None:
    """Raise ``RegistryError`` for a version without the signature that the policy asks for."""
    wrong = unsigned(version, config)
    if wrong:
        raise RegistryError(f"{version.uri} is refused, since {config.policy} says `signature: required`: {wrong}")


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

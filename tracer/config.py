"""The configuration: params.yaml, its profiles, and overrides from the command line.

Each room owns its section, in its ``settings.py``; this module composes and loads them. A profile lists only what
differs from the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, model_validator

from tracer.batches.settings import BatchConfig
from tracer.evaluation.settings import EvaluationConfig
from tracer.faults import faults
from tracer.forecast import MAX_HORIZON
from tracer.ingestion.settings import DataConfig, MixtureConfig
from tracer.planner.settings import PlannerConfig
from tracer.registry.settings import RegistryConfig
from tracer.reward import RewardConfig
from tracer.serving.settings import ServingConfig
from tracer.settings import ConfigError, Section
from tracer.tools.settings import GroundingConfig
from tracer.training.settings import (
    SHARDED,
    BootstrapConfig,
    BudgetConfig,
    GateConfig,
    GroundedConfig,
    GrpoConfig,
    LaunchConfig,
    RetrainConfig,
)

PARAMS = Path("params.yaml")


class Config(Section):
    """One resolved profile."""

    profile: str
    seed: int = Field(default=0, ge=0, lt=2**32)  # NumPy takes no larger one
    build: str = "build"
    """Where steps write: ``<build>/<profile>/seed<seed>/<step>``."""
    data: DataConfig = DataConfig()
    mixture: MixtureConfig = MixtureConfig()
    batches: BatchConfig = BatchConfig()
    planner: PlannerConfig = PlannerConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    reward: RewardConfig = RewardConfig()
    grounding: GroundingConfig = GroundingConfig()
    stage1: GrpoConfig = GrpoConfig()
    stage2: GroundedConfig = GroundedConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gates: GateConfig = GateConfig()
    retrain: RetrainConfig = RetrainConfig()
    budget: BudgetConfig = BudgetConfig()
    launch: LaunchConfig = LaunchConfig()
    registry: RegistryConfig = RegistryConfig()
    serving: ServingConfig = ServingConfig()

    @model_validator(mode="after")
    def _planners(self) -> Config:
        planners = ["base", *(name for name, section in self if isinstance(section, GrpoConfig))]
        unknown = [name for name in self.evaluation.unplayed if name not in planners]
        if unknown:
            raise ValueError(f"evaluation.unplayed names {unknown[0]!r}; the planners are {', '.join(planners)}")
        return self

    @model_validator(mode="after")
    def _named(self) -> Config:
        registry = self.registry.model_copy()  # the default is one for all
        registry._profile = self.profile
        self.__dict__["registry"] = registry
        return self

    @model_validator(mode="after")
    def _whole_groups(self) -> Config:
        for name, stage in self:
            if not isinstance(stage, GrpoConfig):
                continue
            micro, processes = stage.groups // stage.accumulation, self.launch.processes
            if micro % processes:
                raise ValueError(
                    f"{name}: {micro} groups a micro-batch cannot be dealt to {processes} processes as whole groups; "
                    f"choose {name}.groups divisible by {stage.accumulation * processes}"
                )
            if stage.rollouts == "continuous_batching" and (self.planner.image or (stage.bf16 and not stage.lora)):
                raise ValueError(
                    f"{name}: TRL's continuous batching reads no images, and rounds trained weights to bf16; set "
                    f"{name}.rollouts to transformers or one of vLLM's"
                )
            shared = stage.rollouts == "transformers" and self.launch.strategy not in SHARDED
            if self.planner.constrain == "always" and not shared:
                raise ValueError(
                    f"{name}: only groups that share their prompt are trained within the grammar, and with sharded "
                    f"weights or rollouts {stage.rollouts!r} they do not; set planner.constrain to evaluation"
                )
            if self.launch.strategy in SHARDED:
                if stage.pass_rate_samples:
                    raise ValueError(
                        f"{name}: prompts are selected before the weights are sharded, which a model of this size does "
                        f"not survive; set {name}.pass_rate_samples to 0"
                    )
                if self.launch.strategy == "fsdp2" and stage.gradient_checkpointing:
                    raise ValueError(
                        f"{name}: fsdp2 recomputes activations itself, and both together do it twice; set "
                        f"{name}.gradient_checkpointing to false"
                    )
        return self

    @property
    def folder(self) -> Path:
        """The folder of this profile and seed."""
        return Path(self.build) / self.profile / f"seed{self.seed}"

    def out(self, step: str) -> Path:
        """The output folder of a step of this profile and seed."""
        return self.folder / step

    def command(self, words: str) -> str:
        """A command for this profile and seed, as messages show it."""
        return f"tracer {words} --profile {self.profile}" + (f" --seed {self.seed}" if self.seed else "")


def load(profile: str | None = None, overrides: Sequence[str] = (), path: Path = PARAMS, force: bool = False) -> Config:
    """The resolved configuration of a profile of params.yaml; raises ``ConfigError``.

    ``overrides`` are ``dotted.key=value``, the value in YAML. ``force`` allows a horizon over 10.
    """
    document = _document(path)
    profile = profile or document["profile"]
    if profile not in document["profiles"]:
        raise ConfigError(f"{path} has no profile {profile!r}; it has: {', '.join(document['profiles'])}")
    settings: dict[str, Any] = {"profile": profile, **(document["profiles"][profile] or {})}
    for override in overrides:
        settings = _override(settings, override)
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        raise ConfigError(f"{path}, profile {profile!r}:\n  " + faults(error, "\n  ")) from error
    if config.planner.horizon > MAX_HORIZON and not force:
        raise ConfigError(
            f"planner.horizon is {config.planner.horizon}; beyond {MAX_HORIZON} steps forecasts get worse (the paper's "
            f"ablation): choose at most {MAX_HORIZON}, or pass --force"
        )
    return config


def profiles(path: Path = PARAMS) -> tuple[str, ...]:
    """The names of the profiles of params.yaml, the default one first; raises ``ConfigError``."""
    document = _document(path)
    return tuple(sorted(document["profiles"], key=lambda name: name != document["profile"]))


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; run in the project's root") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML in UTF-8: {error}") from error
    if not isinstance(document, dict) or set(document) != {"profile", "profiles"}:
        raise ConfigError(f"{path} must contain exactly the keys 'profile' and 'profiles'")
    return document


def _override(settings: Mapping[str, Any], override: str) -> dict[str, Any]:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"an override is written dotted.key=value, not {override!r}")
    changed = dict(settings)
    node = changed
    *parents, leaf = key.split(".")
    for name in parents:
        if not isinstance(node.get(name) or {}, Mapping):
            raise ConfigError(f"{override!r}: {name} is a value and has no settings of its own")
        node[name] = dict(node.get(name) or {})
        node = node[name]
    try:
        node[leaf] = yaml.safe_load(value) if value else ""
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of {override!r} is not valid YAML") from error
    return changed

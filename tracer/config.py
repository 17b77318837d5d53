"""The configuration: params.yaml, its profiles, and overrides from the command line.

Every section is a frozen model that refuses unknown keys. A profile lists only what differs from the defaults here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tracer.forecast import MAX_HORIZON
from tracer.ingestion.mixing import MixtureConfig
from tracer.reward import RewardConfig

PARAMS = Path("params.yaml")
# Read once: MLflow sets the variable itself, for its own later calls, to whatever it was last connected to.
TRACKING_URI = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


class ConfigError(ValueError):
    """A configuration that is refused; the message names the key and the mend."""


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """What is ingested, and which of it trains."""

    source: str = "jsonl"
    """The adapter of tracer/sources that reads ``path``."""
    path: str = "data/raw"
    """The raw episodes."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the adapter, such as ``text_only: true`` for AgentTrek."""
    workers: int = Field(default=1, gt=0)
    """Parts of a published data set that are ingested side by side."""
    pointer: str = "data.dvc"
    """The DVC pointer that pins the folder ``path`` lies in; empty for data that DVC does not track."""
    max_quarantined: float = Field(default=0.01, ge=0, le=1)
    """The share of bad rows above which the gate after ingestion closes."""
    limit: int | None = Field(default=None, gt=0)
    """At most so many episodes a task and split (for tests)."""


class PlannerConfig(Section):
    """What forecasts."""

    base: str = "data/base"
    """The base planner: a folder, or a model id of the Hugging Face hub (``owner/name``)."""
    revision: str | None = None
    """The pinned commit of a base from the hub; a folder is pinned by its content."""
    grammar: Literal["pointing", "literal", "reasoned"] = "pointing"
    horizon: int = Field(default=5, ge=1)
    """T, the steps of a forecast."""
    history: int = Field(default=4, ge=0)
    """How many past step instructions the prompt shows."""
    image: bool = True
    """Whether the planner sees the screenshot beside the element list."""
    max_prompt_tokens: int = Field(default=768, gt=0)
    """The longest prompt, image tokens included, that validation lets pass."""
    max_new_tokens: int = Field(default=48, gt=0)

    @model_validator(mode="after")
    def _pinned(self) -> PlannerConfig:
        if self.revision is None and is_hub_id(self.base):
            raise ValueError(
                f"base {self.base!r} is no folder here; as a model id of the hub it needs planner.revision, the "
                f"40 hex digits of a commit: a name alone is another model tomorrow"
            )
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(f"revision {self.revision!r} is no commit; branches and tags move, give the 40 hex digits")
        if self.revision is not None and not is_hub_id(self.base):
            raise ValueError(f"base {self.base!r} is a folder, which has no revision; leave planner.revision out")
        return self


OWN_FOLDERS = ("data", "build", ".", "..")


def is_hub_id(base: str) -> bool:
    """Whether a base is meant as ``owner/name`` on the hub: one slash, and no folder of the project or of that name."""
    parts = base.split("/")
    return len(parts) == 2 and all(parts) and parts[0] not in OWN_FOLDERS and not Path(base).exists()


class BootstrapConfig(Section):
    """How the tiny base planner is built by supervised learning."""

    hidden: int = Field(default=160, gt=0, multiple_of=32)
    layers: int = Field(default=4, gt=0)
    vocabulary: int = Field(default=1500, gt=300)
    steps: int = Field(default=1500, gt=0)
    batch: int = Field(default=32, gt=0)
    learning_rate: float = Field(default=1.5e-3, gt=0)
    warmup: int = Field(default=50, ge=0)
    checkpoint_every: int = Field(default=250, gt=0)
    bf16: bool = False
    """Mixed precision: a third faster where the processor has bf16 arithmetic, far slower where it has not."""


class LoraConfig(Section):
    """A low-rank adapter instead of all weights."""

    rank: int = Field(default=64, gt=0)
    alpha: int = Field(default=128, gt=0)
    targets: str = "all-linear"


class GrpoConfig(Section):
    """One stage of GRPO. The paper does not publish these numbers; they are our choices."""

    steps: int = Field(default=60, gt=0)
    """Optimizer steps."""
    groups: int = Field(default=16, gt=0)
    """Prompts a step."""
    group_size: int = Field(default=8, gt=1)
    """G, the forecasts sampled for a prompt."""
    learning_rate: float = Field(default=6e-5, gt=0)
    warmup: int = Field(default=3, ge=0)
    temperature: float = Field(default=1.0, gt=0)
    kl: float = Field(default=0.0, ge=0)
    """beta, the weight of the KL term to the stage's starting weights."""
    loss: Literal["grpo", "dr_grpo", "dapo", "bnpo"] = "grpo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    """Whether the reward parts are summed before they are normalised over the group (the paper), or after."""
    clip: float = Field(default=0.2, gt=0)
    """epsilon, the clipping range of the policy ratio."""
    pass_rate_samples: int = Field(default=4, ge=0)
    """Rollouts a prompt, before training, that find the prompts whose rewards disagree: those that the planner can, but
    does not always, get right. Those are trained on; 0 takes prompts at random."""
    accumulation: int = Field(default=1, gt=0)
    """Micro-batches a step; groups * group_size has to be divisible by it."""
    checkpoint_every: int = Field(default=20, gt=0)
    keep_checkpoints: int = Field(default=2, gt=0)
    bf16: bool = False
    gradient_checkpointing: bool = False
    lora: LoraConfig | None = None
    sampling: Literal["stream", "step"] = "stream"
    """Random numbers in one stream a process, or drawn for the whole batch anew from the seed and the step: then any
    number of processes samples the same. Of the rollouts of transformers, and of groups that share their prompt."""
    rollouts: Literal["transformers", "vllm_colocate", "vllm_server", "continuous_batching"] = "transformers"
    max_prompts: int | None = Field(default=None, gt=0)
    """Train on at most so many states, drawn with the seed."""
    patience: int = Field(default=20, ge=0)
    """Steps of a collapsed reward after which training ends with an error; 0 lets it go on."""
    log_samples: int = Field(default=8, ge=0)
    """Rollouts kept with their screenshot at every tenth of the training."""

    @model_validator(mode="after")
    def _divides(self) -> GrpoConfig:
        batch = self.groups * self.group_size
        if batch % self.accumulation or (batch // self.accumulation) % self.group_size:
            raise ValueError(
                f"{self.groups} groups of {self.group_size} cannot be split into {self.accumulation} micro-batches of "
                f"whole groups; choose an accumulation that divides groups"
            )
        return self


class GroundingConfig(Section):
    """Who turns a forecast's first step into a place on the screen, in stage 2 and at inference."""

    agent: Literal["elements", "ocr", "own"] = "elements"
    """The frozen tool agent: from the element list, from pixels alone, or none (the planner's own coordinates)."""
    radius: float = Field(default=0.04, gt=0)
    """How near, in screen fractions, a place has to be where the target's box is unknown."""


class EvaluationConfig(Section):
    """How planners are compared."""

    max_states: int | None = Field(default=None, gt=0)
    """Held-out states a split, drawn with the seed; None takes all."""
    online: bool = True
    episodes: int = Field(default=4, gt=0)
    """Online episodes a page."""
    first_seed: int = 9000
    max_steps: int = Field(default=20, gt=0)
    """Steps after which an online episode counts as failed."""
    resamples: int = Field(default=2000, gt=0)
    """Bootstrap resamples behind each 95 % interval."""


class GateConfig(Section):
    """What closes the gate behind a training stage."""

    max_unparsable: float = Field(default=0.5, ge=0, le=1)
    """The share of sampled forecasts, over the stage, that did not parse."""
    max_dead_groups: float = Field(default=0.97, ge=0, le=1)
    """The share of groups, over the stage, whose rewards were all equal and so taught nothing."""
    probe_tolerance: float = Field(default=1e-6, ge=0)
    """How far a fresh load may be from the score that training ended with."""


SHARDED = ("fsdp2", "zero3")  # the strategies under which no process holds all weights


class LaunchConfig(Section):
    """On how many processes a stage trains, and where vLLM runs.

    None of it changes what is learned but the number of processes, where each samples from a stream of its own.
    """

    strategy: Literal["single", "cpu", "fsdp2", "zero3"] = "single"
    """One process, two on the processor (a test), or every weight sharded over the GPUs."""
    nodes: int = Field(default=1, gt=0)
    gpus: int = Field(default=1, gt=0)
    """Processes a node."""
    main_address: str = "127.0.0.1"
    """The first node's address."""
    main_port: int = Field(default=29513, gt=0, lt=65536)
    vllm_host: str = "127.0.0.1"
    vllm_port: int = Field(default=8000, gt=0, lt=65536)
    vllm_group_port: int = Field(default=51216, gt=0, lt=65536)
    """Where weights are sent to the vLLM server."""
    vllm_timeout: float = Field(default=600.0, gt=0)
    """Seconds to wait for the vLLM server to come up."""
    vllm_memory: float = Field(default=0.3, gt=0, lt=1)
    """The share of each GPU that a colocated vLLM takes."""
    vllm_tensor_parallel: int = Field(default=1, gt=0)
    vllm_sleep: bool = False
    """Whether a colocated vLLM gives its memory back during the update."""

    @property
    def processes(self) -> int:
        return self.nodes * self.gpus

    @model_validator(mode="after")
    def _possible(self) -> LaunchConfig:
        if self.strategy == "single" and self.processes > 1:
            raise ValueError(f"strategy 'single' is one process, not {self.processes}; choose fsdp2 or zero3")
        if self.strategy in ("cpu", "zero3") and self.nodes > 1:
            raise ValueError(f"strategy {self.strategy!r} is for one node; choose fsdp2 for {self.nodes}")
        if self.gpus % self.vllm_tensor_parallel:
            raise ValueError(f"vllm_tensor_parallel {self.vllm_tensor_parallel} does not divide {self.gpus} GPUs")
        return self


class RegistryConfig(Section):
    """Where runs and models are registered."""

    tracking_uri: str = TRACKING_URI
    experiment: str = "tracer"
    model: str = "tracer-planner"
    policy: str = "mlflow/promotion.yaml"


class Config(Section):
    """One resolved profile."""

    profile: str
    seed: int = Field(default=0, ge=0)
    build: str = "build"
    """Where steps write: ``<build>/<profile>/seed<seed>/<step>``."""
    data: DataConfig = DataConfig()
    mixture: MixtureConfig = MixtureConfig()
    planner: PlannerConfig = PlannerConfig()
    bootstrap: BootstrapConfig = BootstrapConfig()
    reward: RewardConfig = RewardConfig()
    grounding: GroundingConfig = GroundingConfig()
    stage1: GrpoConfig = GrpoConfig()
    stage2: GrpoConfig = GrpoConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gates: GateConfig = GateConfig()
    launch: LaunchConfig = LaunchConfig()
    registry: RegistryConfig = RegistryConfig()

    @model_validator(mode="after")
    def _whole_groups(self) -> Config:
        for name in ("stage1", "stage2"):
            stage: GrpoConfig = getattr(self, name)
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

    def shaping(self, stage: str) -> dict[str, Any]:
        """What of the configuration shapes a training stage's result, and so counts into its digest."""
        options: GrpoConfig = getattr(self, stage)
        judge = {"stage1": "reward", "stage2": "grounding"}[stage]
        return {
            "planner": self.planner.model_dump(exclude={"base", "revision", "max_prompt_tokens"}),
            judge: getattr(self, judge).model_dump(),
            stage: options.model_dump(),
            # Each process samples from a stream of random numbers of its own, or all of them from one.
            "processes": self.launch.processes if options.sampling == "stream" else 1,
        }

    @property
    def folder(self) -> Path:
        return Path(self.build) / self.profile / f"seed{self.seed}"

    def out(self, step: str) -> Path:
        """The output folder of a step of this profile and seed."""
        return self.folder / step


def load(profile: str | None = None, overrides: Sequence[str] = (), path: Path = PARAMS, force: bool = False) -> Config:
    """The resolved configuration of a profile of params.yaml; raises ``ConfigError``.

    ``overrides`` are ``dotted.key=value``, the value in YAML. ``force`` allows a horizon over 10.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; run in the project's root") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from error
    if not isinstance(document, dict) or set(document) != {"profile", "profiles"}:
        raise ConfigError(f"{path} has to hold exactly the keys 'profile' and 'profiles'")
    profile = profile or document["profile"]
    if profile not in document["profiles"]:
        raise ConfigError(f"{path} has no profile {profile!r}; it has: {', '.join(document['profiles'])}")
    settings: dict[str, Any] = {"profile": profile, **(document["profiles"][profile] or {})}
    for override in overrides:
        settings = _override(settings, override)
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{path}, profile {profile!r}:\n" + "\n".join(lines)) from error
    if config.planner.horizon > MAX_HORIZON and not force:
        raise ConfigError(
            f"planner.horizon is {config.planner.horizon}; beyond {MAX_HORIZON} steps forecasts get worse (the paper's "
            f"ablation): choose at most {MAX_HORIZON}, or pass --force"
        )
    return config


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
        raise ConfigError(f"the value of {override!r} is no YAML") from error
    return changed

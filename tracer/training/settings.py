"""The sections ``bootstrap``, ``gates`` and ``launch`` of params.yaml, and that of each stage of training."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from tracer.settings import Section

SHARDED = ("fsdp2", "zero3")  # the strategies under which no process holds all weights


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
    renumbered: float = Field(default=0.5, ge=0, le=1)
    """The share of examples whose spans are numbered at random, so that the planner reads numbers instead of learning
    them by heart."""
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
    tokens: int | None = Field(default=None, gt=0)
    """Sampled tokens after which training ends before that; None: it takes all its steps."""
    groups: int = Field(default=16, gt=0)
    """Prompts per step."""
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
    dead_groups: Literal["count", "skip"] = "count"
    """Whether groups whose rewards are all equal count in the mean over completions (as in TRL), which makes the update
    smaller and lets the KL term pull on them, or are left out of the update."""
    clip: float = Field(default=0.2, gt=0)
    """epsilon, the clipping range of the policy ratio."""
    pass_rate_samples: int = Field(default=4, ge=0)
    """Rollouts a prompt, before training, that find the prompts whose rewards disagree: those that the planner can, but
    does not always, get right. Those are trained on; 0 takes prompts at random."""
    accumulation: int = Field(default=1, gt=0)
    """Micro-batches per step; groups * group_size has to be divisible by it."""
    checkpoint_every: int = Field(default=20, gt=0)
    keep_checkpoints: int = Field(default=2, gt=0)
    bf16: bool = False
    gradient_checkpointing: bool = False
    lora: LoraConfig | None = None
    sampling: Literal["stream", "step"] = "stream"
    """Random numbers in one stream a process, or drawn for the whole batch again from the seed and the step: then any
    number of processes samples the same. Of the rollouts of transformers, and of groups that share their prompt."""
    rollouts: Literal["transformers", "vllm_colocate", "vllm_server", "continuous_batching"] = "transformers"
    max_prompts: int | None = Field(default=None, gt=0)
    """Train on at most this many states, drawn with the seed."""
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


class GroundedConfig(GrpoConfig):
    """Stage 2."""

    keep: float = Field(default=0.0, ge=0)
    """How much of the stage-1 reward is added to the grounded one, which judges the first step alone; 0 is the
    paper's."""


class GateConfig(Section):
    """What closes the gate behind a training stage."""

    max_unparsable: float = Field(default=0.5, ge=0, le=1)
    """The share of sampled forecasts, over the stage, that did not parse."""
    max_dead_groups: float = Field(default=0.97, ge=0, le=1)
    """The share of groups, over the stage, whose rewards were all equal and so taught nothing."""
    probe_tolerance: float = Field(default=1e-6, ge=0)
    """How far a fresh load may be from the score that training ended with."""


class BudgetConfig(Section):
    """What one stage of training may take, besides its steps. Spent, the stage ends with the weights that it has."""

    hours: float | None = Field(default=None, gt=0)
    cost: float | None = Field(default=None, gt=0)
    """In the currency of ``price_per_hour``."""
    price_per_hour: float = Field(default=0.0, ge=0)
    """Of all the machines that the stage trains on."""

    @model_validator(mode="after")
    def _priced(self) -> BudgetConfig:
        if self.cost is not None and not self.price_per_hour:
            raise ValueError("a cost is hours times a price: set budget.price_per_hour too")
        return self


class RetrainConfig(Section):
    """What training starts from when there is a champion, and what of its data is trained on again."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    from_: str = Field(default="base", alias="from", pattern=r"^(base|champion|[^/#@\s]+/\d+(#[0-9a-f]{16})?)$")
    """``base``: planner.base. ``champion``: whoever is champion when the run begins, and planner.base while there is
    none. A version, ``tracer-planner/3``: that one; behind ``#`` comes the digest of its weights."""
    replay: float = Field(default=1.0, ge=0, le=1)
    """From a registered version: the share of the episodes it was made of that is trained on beside the new ones."""


class LaunchConfig(Section):
    """On how many processes a stage trains, and where vLLM runs.

    None of it changes what is learned but the number of processes, where each samples from a stream of its own.
    """

    report_to: tuple[Literal["mlflow", "tensorboard", "wandb"], ...] = ()
    """Who is told the metrics of every step while a stage trains, through transformers' own callbacks: losses, rewards
    by part, dead groups, entropy, tokens. MLflow has them in the experiment ``<registry.experiment>-live``, with sample
    rollouts and what the machine does. A service that fails ends the training, which resumes."""
    strategy: Literal["single", "cpu", "fsdp2", "zero3"] = "single"
    """One process, two on the CPU (a test), or every weight sharded over the GPUs."""
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
        """How many processes train."""
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

"""What a mixture of sources is made of: the section ``mixture`` of params.yaml, and its filters."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tracer.trajectory import Trajectory


class MixedSource(BaseModel):
    """One ingested source and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: str
    """Its folder of shards, as ``tracer ingest`` wrote it."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of the training trajectories, relative to the other sources."""
    cap: int | None = Field(default=None, gt=0)
    """At most so many training trajectories."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """The share of its training trajectories that becomes ``heldout``: for sources without a test split."""


class MixtureConfig(BaseModel):
    """What is mixed, and what is left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: dict[str, MixedSource] = Field(default_factory=dict)
    balance: Literal["weights", "all"] = "weights"
    """``all`` takes everything that the filters and caps leave, whatever the weights."""
    completed_only: bool = True
    """Leave out trajectories that are known to have failed."""
    unknown_outcome: bool = True
    """Whether an unknown outcome counts as completed; half of the sources do not publish one."""
    no_redundant_steps: bool = False
    """Leave out trajectories that repeat an action on an unchanged screen."""
    min_steps: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    """Decides what is held out and which trajectories a cap or weight takes."""

    @model_validator(mode="after")
    def _ordered(self) -> MixtureConfig:
        if self.max_steps is not None and self.max_steps < self.min_steps:
            raise ValueError(f"max_steps {self.max_steps} is below min_steps {self.min_steps}; choose a larger one")
        return self


def reason_against(trajectory: Trajectory, config: MixtureConfig) -> str | None:
    """Why the filters leave a trajectory out, or None."""
    if config.completed_only and trajectory.outcome == "failure":
        return "failed"
    if config.completed_only and not config.unknown_outcome and trajectory.outcome == "unknown":
        return "outcome unknown"
    if len(trajectory.steps) < config.min_steps:
        return "too short"
    if config.max_steps is not None and len(trajectory.steps) > config.max_steps:
        return "too long"
    if config.no_redundant_steps and redundant_steps(trajectory):
        return "redundant steps"
    return None


def redundant_steps(trajectory: Trajectory) -> int:
    """How many steps repeat the action before them though the screen had not changed.

    A screen is unchanged if its picture is the same, byte for byte; for steps without one, if elements and
    observation are. A wait is never redundant.
    """
    pairs = zip(trajectory.steps, trajectory.steps[1:], strict=False)
    return sum(
        one.action == two.action
        and two.action.type != "wait"
        and (one.image, one.elements, one.observation) == (two.image, two.elements, two.observation)
        for one, two in pairs
    )

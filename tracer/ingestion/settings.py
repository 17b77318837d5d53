"""The sections ``data`` and ``mixture`` of params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from tracer import plugins
from tracer.settings import Section

DATA = Path("data")
"""The folder that comes with the project, and that ``data.dvc`` pins."""


class DataConfig(Section):
    """What is ingested, and which of it trains."""

    source: Annotated[str, AfterValidator(plugins.known(plugins.SOURCES))] = "jsonl"
    """The adapter that reads ``path``."""
    path: str = "data/raw"
    """The raw episodes."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Options of the adapter, such as ``text_only: true`` for AgentTrek."""
    workers: int = Field(default=1, gt=0)
    """Parts of a published data set that are ingested side by side."""
    pointer: str = "data.dvc"
    """The DVC pointer that pins the folder ``path`` lies in; empty for data that DVC does not track.

    For a ``path`` outside ``data/`` the default is the pointer that ``dvc add`` put beside it or a folder above it; if
    there is none, the data is not tracked."""
    store: str = Field(default="", pattern=r"^$|^[a-z0-9+]+://[^/]+")
    """Where the shards go, such as ``s3://BUCKET/PREFIX``; empty: they stay in the step's folder. Steps that read them
    keep copies in ``$TRACER_SHARD_CACHE`` (.cache/shards) while the disk has room."""
    max_quarantined: float = Field(default=0.01, ge=0, le=1)
    """The share of bad rows above which the gate after ingestion closes."""
    limit: int | None = Field(default=None, gt=0)
    """At most this many episodes per task and split (for tests)."""

    @model_validator(mode="before")
    @classmethod
    def _own_pointer(cls, given: Any) -> Any:
        path = given.get("path") if isinstance(given, dict) else None
        if not isinstance(path, str) or "pointer" in given or Path(path).resolve().is_relative_to(DATA.resolve()):
            return given
        pointers = (each.with_name(f"{each.name}.dvc") for each in (Path(path), *Path(path).parents) if each.name)
        return {**given, "pointer": next((str(each) for each in pointers if each.is_file()), "")}


class MixedSource(Section):
    """One ingested source and how much of it."""

    folder: str
    """Its folder of shards, as ``tracer ingest`` wrote it."""
    weight: float = Field(default=1.0, gt=0)
    """Its share of the training trajectories, relative to the other sources."""
    cap: int | None = Field(default=None, gt=0)
    """At most this many training trajectories."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """The share of its training trajectories that becomes ``heldout``: for sources without a test split."""


class MixtureConfig(Section):
    """What is mixed, and what is left out."""

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

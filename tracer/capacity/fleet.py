"""The GPUs that a plan is made for: ``fleet.yaml``, and a file of your own in the same form."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from tracer import package_data
from tracer.config import Config
from tracer.faults import faults
from tracer.planner.shape import Shape
from tracer.settings import ConfigError, Section
from tracer.stages import STAGES

CPU = "two-cores"
"""The row of a machine without a GPU."""


class Gpu(Section):
    """One kind of GPU."""

    memory: float = Field(gt=0)
    """Gigabytes, as its maker states them."""
    flops: float = Field(gt=0)
    """Dense bf16 operations a second, in units of 10^12."""
    bandwidth: float = Field(gt=0)
    """Of its memory, in gigabytes a second."""
    price: float = Field(default=0.0, ge=0)
    """For one GPU and hour."""
    overhead: float = Field(default=400.0, ge=0)
    """Microseconds a token that do not grow with the model."""
    source: str


def read(own: Path | None = None) -> dict[str, Gpu]:
    """The kinds of GPU by name; those of a file of one's own are added, or replace ours. Raises ``ConfigError``."""
    known = _gpus(package_data.path("capacity/fleet.yaml"))
    return known if own is None else known | _gpus(own)


def gpu(name: str, own: Path | None = None) -> Gpu:
    """One kind of GPU. Raises ``ConfigError`` for a name that is in neither file."""
    found = read(own)
    if name not in found:
        raise ConfigError(
            f"no GPU {name!r}; known are {', '.join(found)}; --fleet FILE adds one, in the form of theirs"
        )
    return found[name]


def usual(config: Config) -> str:
    """The kind that is planned for where none is named: the CPU's for a profile that it can train, where no GPU is."""
    import torch

    stages = [stage.options(config) for stage in STAGES]
    needs_gpu = any(each.bf16 or each.rollouts.startswith("vllm") for each in stages) or config.launch.gpus > 1
    return "h100" if needs_gpu or torch.cuda.is_available() else CPU


def published(base: str) -> tuple[Shape, str] | None:
    """The shape of a model of the hub, and where that is published; None for one that is not in ``models.yaml``."""
    document = yaml.safe_load(package_data.read("capacity/models.yaml"))
    found = [sizes for name, sizes in document["models"].items() if base.startswith(name)]
    return (Shape(**found[0]), document["source"]) if found else None


def _gpus(path: Path) -> dict[str, Gpu]:
    try:
        return TypeAdapter(dict[str, Gpu]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise ConfigError(
            f"{path} is not a list of GPUs such as tracer/capacity/fleet.yaml: {faults(error)}"
        ) from error

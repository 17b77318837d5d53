"""Several processes, one run: who writes, who follows, and what all of them have to agree on.

``accelerate launch`` starts one process per GPU. Only the main one holds the output folder's lock and writes lineage,
metrics and samples; the others run the same training beside it. In one process every function here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from tracer.config import Config
from tracer.lineage import step
from tracer.lineage.digest import LineageError
from tracer.settings import ConfigError
from tracer.training.settings import SHARDED

T = TypeVar("T")
PATIENCE = timedelta(hours=4)
"""How long a process waits for the others: the main one selects, probes and saves alone."""


def world() -> int:
    """How many processes were launched."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main() -> bool:
    """Whether this is the process that writes."""
    return int(os.environ.get("RANK", "0")) == 0


def sharded() -> bool:
    """Whether accelerate was told to shard the weights (FSDP or DeepSpeed)."""
    names = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    return any(os.environ.get(name, "false").lower() in ("1", "true") for name in names)


def require(config: Config) -> None:
    """Raise ``ConfigError`` unless the processes are those of the configuration's section ``launch``."""
    launch = config.launch
    if (world(), sharded()) != (launch.processes, launch.strategy in SHARDED):
        raise ConfigError(
            f"launch says {launch.processes} processes, strategy {launch.strategy!r}, but {world()} run"
            f"{', their weights sharded' if sharded() else ''}; `{config.command('train STAGE --dry-run')}` prints the "
            f"command that starts them, or set launch.strategy, launch.nodes and launch.gpus to what you run"
        )


def join() -> None:
    """Join the process group, on the GPU of this process's local rank or on the CPU."""
    if world() > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available(), timeout=PATIENCE)


def agree(value: T) -> T:
    """The main process's value, in every process."""
    if world() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    join()
    return broadcast_object_list([value])[0]


def run_step(
    name: str, *, inputs: Mapping[str, Path], out: Path, body: Callable[[Path], Mapping[str, Any]], **options: Any
) -> dict[str, Any]:
    """``lineage.step.run_step`` under one or several processes; each of them returns the lineage.

    The others run ``body`` only if the main process does: a finished folder is used as it is by all of them.
    """
    if world() == 1:
        return step.run_step(name, inputs=inputs, out=out, body=body, **options)
    if not main():
        folder = agree("")
        if folder:
            body(Path(folder))
        problem = agree("")
        if problem:
            raise LineageError(f"the main process did not finish {name}: {problem}")
        return step.read_lineage(out)
    begun = False

    def lead(folder: Path) -> Mapping[str, Any]:
        nonlocal begun
        begun = True
        agree(str(folder))
        return body(folder)

    try:
        done = step.run_step(name, inputs=inputs, out=out, body=lead, **options)
    except Exception as error:
        # Inside the body the others wait in a collective of the training, where accelerate ends them.
        if not begun:
            agree("")
            agree(f"{type(error).__name__}: {error}")
        raise
    if not begun:
        agree("")
    agree("")
    return done

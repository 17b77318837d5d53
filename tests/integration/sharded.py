"""`tracer` on the CPU with its weights sharded: ``accelerate launch ... tests/integration/sharded.py ARGUMENTS``.

accelerate shards weights on accelerators alone. Here it is told that two processes joined by gloo are some.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from accelerate import state

os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"


def on_the_processor(kind: Any) -> None:
    """Let a state class ignore ``cpu=True``, which would forbid sharding."""
    plain = kind.__init__

    def init(self: Any, *arguments: Any, **options: Any) -> None:
        options.pop("cpu", None)
        plain(self, *arguments, **options)

    kind.__init__ = init


on_the_processor(state.PartialState)
on_the_processor(state.AcceleratorState)
state.PartialState._prepare_backend = lambda *_, **__: ("gloo", state.DistributedType.MULTI_GPU)

if __name__ == "__main__":
    from tracer.cli import main

    sys.exit(main())

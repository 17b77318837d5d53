"""Both stages, with an engine in each process, on the CPU: ``accelerate launch tests/vllm/processes.py CONFIG SHARDS``.

Where the configuration shards weights, accelerate is told that it can without a GPU (tests/integration/sharded.py).
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from tracer.config import Config

if __name__ == "__main__":
    config = Config.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if config.launch.strategy != "cpu":
        import tests.integration.sharded
    from trl.generation import vllm_generation

    import tests.vllm.unpacked  # noqa: F401
    from tracer.training import stage1, stage2

    vllm_generation.LLM = partial(vllm_generation.LLM, enforce_eager=True, skip_mm_profiling=True)
    stage1.STAGE.train(config, Path(sys.argv[2]), Path(config.planner.base), config.out("stage1"))
    stage2.STAGE.train(config, Path(sys.argv[2]), config.out("stage1"), config.out("stage2"))

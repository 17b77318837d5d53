"""A trainer that clocks the phases of its steps, for the comparison of speeds."""

from __future__ import annotations

import time
from typing import Any

import torch
from trl import GRPOTrainer


def timed(base: type[GRPOTrainer]) -> type[GRPOTrainer]:
    """A trainer class that clocks its phases."""

    class Timed(base):  # type: ignore[valid-type, misc]
        def __init__(self, *args: Any, **kwargs: Any):
            self.clock: dict[str, float] = {"generate": 0.0, "score": 0.0, "sync": 0.0}
            self.tokens = {"prompt": 0, "completion": 0}
            super().__init__(*args, **kwargs)
            if self.use_vllm:
                plain = self.vllm_generation.sync_weights
                self.vllm_generation.sync_weights = lambda: self._clocked("sync", plain)

        def _clocked(self, phase: str, call: Any, *args: Any) -> Any:
            begun = now()
            result = call(*args)
            self.clock[phase] += now() - begun
            return result

        def _generate(self, prompts: list[Any]) -> Any:
            before = self.clock["sync"]
            result = self._clocked("generate", super()._generate, prompts)
            self.clock["generate"] -= self.clock["sync"] - before
            self.tokens["prompt"] += sum(map(len, result[0]))
            self.tokens["completion"] += sum(map(len, result[1]))
            return result

        def _calculate_rewards(self, *args: Any) -> Any:
            return self._clocked("score", super()._calculate_rewards, *args)

        def last_reward(self) -> float:
            """The mean reward of the step that was just taken, which is not logged yet."""
            return float(self._metrics["train"]["reward"][-1])

        def logp_difference(self) -> float | None:
            """How far vLLM's log-probabilities were from ours at most; None without vLLM."""
            found = self._metrics["train"].get("sampling/sampling_logp_difference/max")
            return float(found[-1]) if found else None

    return Timed


def now() -> float:
    """The time in seconds, once everything given to the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()

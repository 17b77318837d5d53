"""The reward as TRL calls it: one function for each part, all of one scoring."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tracer.examples import Example
from tracer.training import health, processes
from tracer.training.samples import SampleLog
from tracer.training.score import Objective, Scored


class Recorder:
    """Reward functions for TRL, one per part, that score every completion once and count what does not parse."""

    def __init__(self, objective: Objective, states: Sequence[Example], samples: SampleLog):
        self.objective = objective
        self.states = states
        self.samples = samples
        self._scored: list[Scored] = []
        self._before: float | None = None

    def functions(self) -> list[Callable[..., list[float | None]]]:
        """One function per part. TRL allows None, for a completion that a function cannot score; ours score all."""
        return [self._function(name) for name in self.objective.parts]

    def _function(self, name: str) -> Callable[..., list[float | None]]:
        def reward(**given: Any) -> list[float | None]:
            if name == self.objective.parts[0]:  # TRL calls the functions in their order
                self._scored = self._score(**given)
            return [scored.parts[name] for scored in self._scored]

        reward.__name__ = name
        return reward

    def _score(
        self,
        prompts: Any,
        completions: Any,
        completion_ids: Any,
        index: list[int],
        log_metric: Any,
        trainer_state: Any,
        **_: Any,
    ) -> list[Scored]:
        texts, states = [completion[0]["content"] for completion in completions], [self.states[i] for i in index]
        scored = self.objective.scored(states, texts)
        log_metric("unparsable", sum(each.reading.forecast is None for each in scored) / len(texts))
        log_metric("cut", sum(each.reading.cut for each in scored) / len(texts))
        log_metric("dead_groups", health.dead_groups(index, [each.parts for each in scored]))
        log_metric("repeated", sum(map(health.repeated_lines, texts)) / len(texts))
        lengths = [len(ids) for ids in completion_ids]
        log_metric("reward_length", health.length_correlation(index, [each.total for each in scored], lengths))
        now = time.monotonic()
        if self._before is not None:  # from one scoring to the next is a whole step
            log_metric("tokens_per_second", processes.world() * sum(lengths) / (now - self._before))
        self._before = now
        self.samples.add(trainer_state.global_step, states, [asked(prompt) for prompt in prompts], texts, scored)
        return scored


def asked(prompt: Sequence[dict[str, Any]]) -> str:
    """The text of a prompt, which is one message; TRL makes a list of parts of it where there is a picture."""
    content = prompt[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)

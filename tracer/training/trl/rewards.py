"""The reward as TRL calls it: one function for each part, all of one scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracer.examples import Example
from tracer.training import health
from tracer.training.samples import SampleLog
from tracer.training.score import Score, Scored


class Recorder:
    """Reward functions for TRL, one per part, that score every completion once and count what does not parse."""

    def __init__(self, score: Score, states: Sequence[Example], parts: Sequence[str], samples: SampleLog):
        self.score = score
        self.states = states
        self.parts = parts
        self.samples = samples
        self._scored: list[Scored] = []

    def functions(self) -> list[Callable[..., list[float | None]]]:
        """One function per part. TRL allows None, for a completion that a function cannot score; ours score all."""
        return [self._function(name, first=name == self.parts[0]) for name in self.parts]

    def _function(self, name: str, first: bool) -> Callable[..., list[float | None]]:
        def reward(
            completions: Any, completion_ids: Any, index: list[int], log_metric: Any, trainer_state: Any, **_: Any
        ) -> list[float | None]:
            texts = [completion[0]["content"] for completion in completions]
            if first:
                self._scored = [self.score(self.states[i], text) for i, text in zip(index, texts, strict=True)]
                log_metric("unparsable", sum(not scored.parsed for scored in self._scored) / len(texts))
                log_metric("dead_groups", health.dead_groups(index, [scored.parts for scored in self._scored]))
                log_metric("repeated", sum(map(health.repeated_lines, texts)) / len(texts))
                totals, lengths = [scored.total for scored in self._scored], [len(ids) for ids in completion_ids]
                log_metric("reward_length", health.length_correlation(index, totals, lengths))
                self.samples.add(trainer_state.global_step, [self.states[i] for i in index], texts, self._scored)
            return [scored.parts[name] for scored in self._scored]

        reward.__name__ = name
        return reward

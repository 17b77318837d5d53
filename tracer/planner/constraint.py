"""Constrained decoding: an answer is kept within its grammar, token by token (llguidance).

What may be written follows from the state and from the definitions that the parser itself reads by
(``Grammar.constraint``). The probabilities are those of the model over the tokens that may come next: every other
token's is 0, in sampling and in scoring alike.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from transformers import LogitsProcessor

from tracer.grammars.reading import Grammar
from tracer.trajectory import State


class Constraint:
    """The answers that a grammar allows, in the tokens of one tokenizer."""

    def __init__(self, tokenizer: Any, grammar: Grammar, horizon: int) -> None:
        self._tokens = from_tokenizer(tokenizer)
        self._grammar = grammar
        self._horizon = horizon
        self._begun = lru_cache(maxsize=4096)(self._begin)

    def answers(self, states: Sequence[State | None], ends: Collection[int]) -> Answers:
        """An answer to each state, before its first token; one to None may be anything.

        Each of ``ends`` (``TransformersPlanner.ends``) ends it.
        """
        texts = [None if state is None else self._grammar.constraint(state, self._horizon) for state in states]
        return Answers([None if text is None else self._begun(text).deep_copy() for text in texts], ends)

    def allowed(
        self, states: Sequence[State], tokens: torch.Tensor, vocabulary: int, ends: Collection[int]
    ) -> torch.Tensor:
        """For finished answers (batch, tokens): which tokens might have come at each place, (batch, tokens, vocabulary)
        as booleans; after an answer's end, all."""
        answers = self.answers(states, ends)
        places = [answers.allowed(vocabulary)]
        for column in tokens.T[:-1]:
            answers.write(column)
            places.append(answers.allowed(vocabulary))
        return torch.stack(places, dim=1).to(tokens.device)

    def _begin(self, text: str) -> LLMatcher:
        matcher = LLMatcher(self._tokens, LLMatcher.grammar_from_lark(text))
        if matcher.is_error():
            raise ValueError(f"llguidance does not take this grammar: {matcher.get_error()}\n{text}")
        return matcher


class Answers:
    """Answers that are being written side by side."""

    def __init__(self, matchers: Sequence[LLMatcher | None], ends: Collection[int]) -> None:
        self._matchers: list[LLMatcher | None] = list(matchers)
        self._ends = frozenset(ends)

    def write(self, tokens: torch.Tensor) -> None:
        """Add a token (batch,) to each answer; what follows its end is no part of it.

        Raises ``ValueError`` for a token that may not come next.
        """
        for index, token in enumerate(tokens.tolist()):
            matcher = self._matchers[index]
            if matcher is not None and not matcher.consume_token(token):
                raise ValueError(f"the grammar does not allow token {token} here: {matcher.get_error()}")
            if token in self._ends:
                self._matchers[index] = None

    def allowed(self, vocabulary: int) -> torch.Tensor:
        """Which of ``vocabulary`` tokens may come next in each answer: (batch, vocabulary), as booleans.

        Raises ``ValueError`` where llguidance gives up on a grammar.
        """
        found = torch.ones(len(self._matchers), vocabulary, dtype=torch.bool)
        for row, matcher in zip(found, self._matchers, strict=True):
            if matcher is not None:
                bias = torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)
                if matcher.is_error():
                    raise ValueError(f"llguidance gives up on this grammar: {matcher.get_error()}")
                row.zero_()[: len(bias)] = bias[:vocabulary] > 0
        return found


class Constrained(LogitsProcessor):
    """Keeps a generation's next tokens within the constraint."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.begun = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Logits (rows, vocabulary), minus infinity where a token may not come next."""
        if self.begun:
            self.answers.write(input_ids[:, -1])
        self.begun = True
        return scores.masked_fill(~self.answers.allowed(scores.shape[-1]).to(scores.device), -torch.inf)

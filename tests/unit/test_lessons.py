"""Supervised lessons: batches in a fixed order, and span numbers that cannot be learned by heart."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import patient, states, steps
from tracer.grammars.grammar import grammar
from tracer.settings import ConfigError
from tracer.training.supervised import renumbered, sorted_batches


@patient
@given(st.data(), st.integers(0, 9))
def test_renumbering_exchanges_numbers_alike_in_prompt_and_answer(data: st.DataObject, seed: int) -> None:
    state = data.draw(states())
    answer = grammar("pointing").format(data.draw(st.lists(steps(state), min_size=1, max_size=3)), state)
    prompt = "".join(f"${number} span {number}\n" for number in range(1, 10)) + "click @4 at 12\n"
    asked, answered = renumbered([prompt, answer], random.Random(seed))
    numbers = re.findall(r"\$(\d)", asked)
    assert sorted(numbers) == list("123456789")
    assert re.sub(r"\$\d", "$", asked + answered) == re.sub(r"\$\d", "$", prompt + answer)  # nothing else moves
    back = {f"${new}": f"${old}" for old, new in enumerate(numbers, start=1)}
    assert re.sub(r"\$[1-9]", lambda found: back[found[0]], answered) == answer


def test_batches_are_sorted_within_and_every_example_comes_up_once_an_epoch() -> None:
    lengths = [5, 1, 4, 2, 9, 3, 8, 7]
    order = sorted_batches(lengths, batch=4, steps=4, seed=0)
    assert sorted(order[:8]) == sorted(order[8:]) == list(range(8))
    for start in range(0, 16, 4):
        batch = [lengths[index] for index in order[start : start + 4]]
        assert batch == sorted(batch)
    assert order == sorted_batches(lengths, batch=4, steps=4, seed=0) != sorted_batches(lengths, 4, 4, seed=1)
    with pytest.raises(ConfigError, match=r"lower bootstrap\.batch"):
        sorted_batches(lengths, batch=9, steps=1, seed=0)

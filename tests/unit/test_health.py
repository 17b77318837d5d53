"""Signs of reward hacking and collapse, on histories written by hand."""

from __future__ import annotations

import pytest

from tracer.training.health import WINDOW, collapse, length_correlation, present, repeated_lines, signs

HEALTHY = {"reward": 1.0, "dead_groups": 0.2, "unparsable": 0.05, "repeated": 0.02, "reward_length": 0.1}


def history(count: int, first: int = 1, **changed: float) -> list[dict[str, float]]:
    return [{"step": first + index, **HEALTHY, **changed} for index in range(count)]


def test_a_healthy_run_shows_nothing() -> None:
    assert signs(history(4 * WINDOW)) == []
    assert present(history(WINDOW - 1, unparsable=1.0)) == []  # too early to tell


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"dead_groups": 0.9}, "dead_groups"),
        ({"unparsable": 0.6}, "unparsable"),
        ({"repeated": 0.5}, "repetition"),
        ({"reward_length": 0.9}, "length"),
        ({"reward_length": -0.9}, "length"),
    ],
)
def test_each_sign_is_seen_once_where_it_sets_in(changed: dict[str, float], name: str) -> None:
    found = signs(history(WINDOW) + history(2 * WINDOW, first=WINDOW + 1, **changed))
    assert [sign.name for sign in found] == [name]
    assert WINDOW < found[0].step <= 2 * WINDOW
    assert str(found[0].to_dict()["message"])


def test_a_sign_that_goes_and_comes_back_is_told_twice() -> None:
    bad = {"dead_groups": 1.0}
    parts = [history(WINDOW), history(WINDOW, **bad), history(WINDOW), history(WINDOW, **bad)]
    assert [sign.name for sign in signs([entry for part in parts for entry in part])] == ["dead_groups"] * 2


def test_what_was_bad_from_the_start_is_no_change() -> None:
    assert signs(history(3 * WINDOW, unparsable=0.6)) == []


def test_collapse() -> None:
    healthy, dead = history(5), history(5, first=6, dead_groups=1.0, reward=0.2)
    assert "every group has been dead for 5 steps" in (collapse(healthy + dead, 5) or "")
    assert collapse(healthy + dead, 0) is None  # switched off
    assert collapse(healthy + dead[:4], 5) is None  # not yet
    assert "no forecast has parsed" in (collapse(healthy + history(5, first=6, unparsable=1.0), 5) or "")


def test_a_planner_that_gets_everything_right_has_not_collapsed() -> None:
    assert collapse(history(5) + history(5, first=6, dead_groups=1.0, reward=2.5), 5) is None


def test_length_correlation_is_within_groups() -> None:
    # Between the groups length and reward go together; within them they go apart.
    assert length_correlation([0, 0, 1, 1], [1.0, 0.0, 9.0, 8.0], [1, 2, 11, 12]) == pytest.approx(-1.0)
    assert length_correlation([0, 0, 1, 1], [0.0, 1.0, 0.0, 1.0], [3, 5, 3, 5]) == pytest.approx(1.0)
    assert length_correlation([0, 0], [1.0, 1.0], [1, 2]) == 0.0
    assert length_correlation([0, 0], [1.0, 2.0], [2, 2]) == 0.0


def test_repeated_lines() -> None:
    assert repeated_lines("a\nb\na\na\n") == 0.5
    assert repeated_lines("a\nb") == 0.0
    assert repeated_lines("") == 0.0

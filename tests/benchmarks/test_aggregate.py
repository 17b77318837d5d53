"""How outcomes become figures, with sums done by hand."""

from __future__ import annotations

import pytest

from tracer.scoring import protocol as protocols
from tracer.scoring.aggregate import Tally, intervals
from tracer.scoring.contract import Outcome
from tracer.statistics import mean_interval


def tally(benchmark: str, protocol: str, outcomes: list[Outcome]) -> Tally:
    found = Tally(protocols.load(benchmark, protocol))
    for outcome in outcomes:
        found.add(outcome)
    return found


def step(cluster: str, right: int, size: int, stratum: str = "") -> Outcome:
    parts = {"step": (right, 1), "type": (1, 1), "element": (right, 1), "operation_f1": (right, 1)}
    return Outcome(parts=parts, cluster=cluster, size=size, stratum=stratum)


# Episode a: 2 of 2. b: 1 of 2. c: 1 of 1, but one of its two steps is not an item. d: 1 of 1.
ODYSSEY = [
    step("a", 1, 2, "x"), step("a", 1, 2, "x"), step("b", 1, 2, "x"), step("b", 0, 2, "x"), step("c", 1, 2, "y"),
    step("d", 1, 1, "y"),
]  # fmt: skip


def test_odyssey_pooled() -> None:
    figures = tally("gui_odyssey", "official-pooled", ODYSSEY).figures()
    assert figures["step"].value() == 5 / 6
    assert figures["success"].value() == 2 / 3  # a and d, of a, b and d
    assert figures["success"].dropped == 1


def test_odyssey_mean_over_categories() -> None:
    figures = tally("gui_odyssey", "official-random", ODYSSEY).figures()
    assert figures["step"].value() == pytest.approx((3 / 4 + 2 / 2) / 2)
    assert figures["success"].value() == pytest.approx((1 / 2 + 1 / 1) / 2)


def test_a_category_without_a_whole_episode_has_a_success_of_0() -> None:
    outcomes = [step("a", 1, 1, "x"), step("b", 1, 2, "y")]
    figures = tally("gui_odyssey", "official-random", outcomes).figures()
    assert (figures["step"].value(), figures["success"].value()) == (1.0, (1 + 0) / 2)


def test_gui_r1_leaves_out_the_actions_without_a_hit() -> None:
    def one(kind: str, right: int, step: tuple[int, int]) -> Outcome:
        return Outcome(parts={"type": (right, 1), "grounding": (0, 0), "step": step}, cluster=kind, category=kind)

    outcomes = [one("click", 1, (1, 1)), one("click", 0, (0, 1)), one("scroll", 0, (0, 1)), one("wait", 1, (0, 0))]
    figures = tally("android_control", "p2-high", outcomes).figures()
    assert (figures["type"].value(), figures["type_all"].value()) == (2 / 3, 2 / 4)  # the scroll is left out
    assert (figures["step"].value(), figures["step_all"].value()) == (1 / 2, 1 / 3)
    assert (figures["type"].numerator, figures["type"].denominator) == (2, 3)
    assert figures["grounding"].value() is None
    assert figures["type"].value([1, 1, 0]) == 1 / 2  # without the wait, its type is not there


def test_mind2web_macro_counts_missing_steps_as_wrong() -> None:
    outcomes = [step("a", 1, 4), step("a", 1, 4), step("b", 1, 1)]
    figures = tally("mind2web", "coordinate-task", outcomes).figures()
    assert figures["step"].value() == pytest.approx((2 / 4 + 1) / 2)
    assert figures["step_micro"].value() == 3 / 5
    mindact = tally("mind2web", "candidate-task", outcomes).figures()  # which scores the steps that there are
    assert (mindact["step"].value(), mindact["step_micro"].value()) == (1.0, 1.0)
    assert figures["task"].value() == 1.0  # b; a is not whole


def test_android_world_is_a_mean_over_templates() -> None:
    outcomes = [Outcome(parts={"success": (s, 1)}, cluster=c) for c, s in (("A", 1), ("A", 0), ("A", 0), ("B", 1))]
    assert tally("android_world", "run-py", outcomes).figures()["success"].value() == pytest.approx((1 / 3 + 1) / 2)


def test_gta_f1_of_tool_selection() -> None:
    parts = {"logic_precision": (2, 4), "logic_recall": (2, 3), "answer": (0, 1), "answer_image": (0, 1)}
    figures = tally("gta", "end-to-end-objective", [Outcome(parts=parts, cluster="q")]).figures()
    precision, recall = 2 / (4 + 1e-5), 2 / 3
    assert figures["logic_f1"].value() == pytest.approx(2 * precision * recall / (precision + recall + 1e-5), abs=1e-12)
    assert figures["creativity_f1"].value() == 0  # no gold call


def test_the_interval_of_a_plain_mean_is_that_of_the_statistics() -> None:
    values = [1, 0, 1, 1, 0, 1, 0, 0, 1, 1]
    clusters = ["a", "a", "b", "c", "c", "c", "d", "e", "f", "g"]
    outcomes = [Outcome(parts={"accuracy": (v, 1)}, cluster=c) for v, c in zip(values, clusters, strict=True)]
    figures = tally("gaia", "validation", outcomes).figures()
    wanted = mean_interval(values, clusters, resamples=500, seed=3)
    assert figures["accuracy"].value() == wanted.mean
    assert intervals(figures, resamples=500, seed=3)["accuracy"] == pytest.approx((wanted.low, wanted.high))


def test_nothing_in_a_denominator_is_no_figure_and_no_interval() -> None:
    figures = tally("gaia", "validation", [Outcome(parts={"accuracy": (0, 0)}, cluster="a")]).figures()
    assert figures["accuracy"].value() is None
    assert intervals(figures, resamples=10) == {"accuracy": None}

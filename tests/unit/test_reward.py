"""The rewards against numbers computed by hand; the arithmetic stands beside each. docs/paper-index.md lists them."""

from __future__ import annotations

import time

import pytest

from tracer.action import Action
from tracer.forecast import Forecast, ForecastStep
from tracer.reward import (
    NOTHING,
    RewardConfig,
    advantages,
    dead,
    grounded_reward,
    nearness,
    repetition,
    sameness,
    similarity,
    text_similarity,
    tool_call_similarity,
    trajectory_reward,
)
from tracer.trajectory import Box

CONFIG = RewardConfig()  # gamma 0.9, align 1, repetition 0.5, type_credit 0.2, distance_scale 0.05, edit similarity
BARE = RewardConfig(type_credit=0.0)


def step(kind: str, instruction: str = "", target: Box | None = None, **arguments: object) -> ForecastStep:
    action = Action.of(kind, **arguments) if arguments or kind in ("wait", "navigate_back") else Action(kind)
    return ForecastStep(action=action, instruction=instruction, target=target)


def click(x: float, y: float, target: Box | None = None) -> ForecastStep:
    return step("click", x=x, y=y, target=target)


def call(name: str, **arguments: object) -> ForecastStep:
    return step("tool_call", name=name, arguments=arguments)


# Similarity. With type_credit c = 0.2, sim = 0.2 + 0.8 * argument similarity for one type, 0 for two.
SIMILARITIES = [
    # The same place: 0.2 + 0.8 * 1.
    (click(0.3, 0.4), click(0.3, 0.4), 1.0),
    # d = hypot(0.03, 0.04) = 0.05 = one scale: 0.2 + 0.8 / e = 0.2 + 0.8 * 0.36787944 = 0.49430355.
    (click(0.33, 0.44), click(0.3, 0.4), 0.49430355),
    # Inside the target's box, far from the reference point: d = 0.
    (click(0.1, 0.1), click(0.3, 0.4, target=(0.0, 0.0, 0.5, 0.5)), 1.0),
    # 0.1 to the right of the box, within its height: d = 0.1 = 2 scales: 0.2 + 0.8 * 0.13533528 = 0.30826823.
    (click(0.6, 0.1), click(0.3, 0.4, target=(0.0, 0.0, 0.5, 0.5)), 0.30826823),
    # Past the box's corner by (0.03, 0.04): d = 0.05.
    (click(0.53, 0.54), click(0.3, 0.4, target=(0.0, 0.0, 0.5, 0.5)), 0.49430355),
    # Another type at the same place.
    (step("double_click", x=0.3, y=0.4), click(0.3, 0.4), 0.0),
    (step("double_click", x=0.3, y=0.4), step("double_click", x=0.3, y=0.4), 1.0),
    (step("triple_click", x=0.3, y=0.4), step("triple_click", x=0.33, y=0.44), 0.49430355),
    (step("right_click", x=0.33, y=0.44), step("right_click", x=0.3, y=0.4), 0.49430355),
    (step("middle_click", x=0.33, y=0.44), step("middle_click", x=0.3, y=0.4), 0.49430355),
    (step("long_press", x=0.33, y=0.44), step("long_press", x=0.3, y=0.4), 0.49430355),
    (step("move", x=0.33, y=0.44), step("move", x=0.3, y=0.4), 0.49430355),
    # No place, so the instructions name the same target or another one: nearly the same name is another target.
    (step("click", "abcd"), step("click", "abcd", x=0.3, y=0.4), 1.0),
    (step("click", "abcd"), step("click", "abxd", x=0.3, y=0.4), 0.2),
    (step("click", "abcd", x=0.3, y=0.4), step("click", "abxd"), 0.2),
    (step("click", "abcd"), step("click", "abxd"), 0.2),
    (step("long_press", "abcd"), step("long_press", "abxd"), 0.2),
    (step("move", "abcd"), step("move", "abcd"), 1.0),
    # A drag: the start is right (1), the end is one scale off (0.36787944): 0.2 + 0.8 * 0.68393972 = 0.74715178.
    (
        step("drag", x=0.1, y=0.1, to_x=0.33, to_y=0.44),
        step("drag", x=0.1, y=0.1, to_x=0.3, to_y=0.4),
        0.74715178,
    ),
    # Directions are equal or not; where and how far do not count.
    (step("scroll", direction="up", x=0.9, y=0.9, amount=5.0), step("scroll", direction="up"), 1.0),
    (step("scroll", direction="down"), step("scroll", direction="up"), 0.2),
    # "kitten" to "sitting": 3 edits, the longer has 7 letters: 1 - 3/7 = 0.57142857; 0.2 + 0.8 * that = 0.65714286.
    (step("type", text="kitten"), step("type", text="sitting"), 0.65714286),
    (step("type", text="a", x=0.9, y=0.9), step("type", text="a", x=0.1, y=0.1), 1.0),
    (step("type", text=""), step("type", text="abc"), 0.2),
    (step("type", text=""), step("type", text=""), 1.0),
    (step("select", text="kitten"), step("select", text="sitting"), 0.65714286),
    (step("answer", text="kitten"), step("answer", text="sitting"), 0.65714286),
    (step("open_app", app="kitten"), step("open_app", app="sitting"), 0.65714286),
    (step("key", key="Enter"), step("key", key="Enter"), 1.0),
    (step("key", key="Enter"), step("key", key="Tab"), 0.2),
    (step("terminate", status="success"), step("terminate", status="failure"), 0.2),
    (step("terminate", status="success"), step("terminate", status="success"), 1.0),
    # Types without arguments are equal; how long one waits does not count.
    (step("wait", seconds=1.0), step("wait"), 1.0),
    (step("navigate_back"), step("navigate_back", "go back"), 1.0),
    (step("navigate_home"), step("navigate_home"), 1.0),
    (step("navigate_recent"), step("navigate_recent"), 1.0),
    (step("navigate_home"), step("navigate_back"), 0.0),
    # Another tool: 0.2 + 0.8 * 0. The same tool: half for the name, half for 1 equal argument of 3 names (a, b, c):
    # 0.5 + 0.5 / 3 = 0.66666667; 0.2 + 0.8 * that = 0.73333333.
    (call("search", a=1), call("open", a=1), 0.2),
    (call("search", a=1, b=2), call("search", a=1, c=3), 0.73333333),
    (call("search"), call("search"), 1.0),
    (call("search", a={"x": [1]}), call("search", a={"x": [1]}), 1.0),
    (call("search", a=1), call("search"), 0.6),
]


@pytest.mark.parametrize(("ours", "theirs", "expected"), SIMILARITIES)
def test_similarity(ours: ForecastStep, theirs: ForecastStep, expected: float) -> None:
    assert similarity(ours, theirs, CONFIG) == pytest.approx(expected, abs=1e-8)


def test_every_action_type_has_a_golden_similarity() -> None:
    from tracer.action import GRAMMAR

    assert {theirs.action.type for _, theirs, _ in SIMILARITIES} == set(GRAMMAR)


def test_token_f1() -> None:
    # Tokens {a, b, b} and {b, b, c, d}: 2 in common; F1 = 2 * 2 / (3 + 4) = 0.57142857.
    assert text_similarity("a b b", "b b c d", "token_f1") == pytest.approx(4 / 7)
    assert text_similarity("a", "b", "token_f1") == 0.0
    assert text_similarity("", "", "token_f1") == 1.0
    assert text_similarity("", "a", "token_f1") == 0.0
    # Through similarity: 0.2 + 0.8 * 4/7 = 0.65714286.
    found = similarity(step("type", text="a b b"), step("type", text="b b c d"), RewardConfig(text="token_f1"))
    assert found == pytest.approx(0.65714286)


def test_nearness_is_in_screen_fractions() -> None:
    # d = 0.1, scale 0.2: exp(-0.5) = 0.60653066.
    assert nearness((0.5, 0.5), (0.5, 0.6), None, 0.2) == pytest.approx(0.60653066)
    assert nearness((0.5, 0.6), (0.9, 0.9), (0.4, 0.4, 0.6, 0.6), 0.2) == 1.0  # the edge belongs to the box


def test_tool_call_similarity() -> None:
    # Arguments a (equal), b (differs), c (only theirs): 0.5 + 0.5 * 1/3.
    ours, theirs = call("f", a=1, b=2).action, call("f", a=1, b=3, c=4).action
    assert tool_call_similarity(ours, theirs) == pytest.approx(0.5 + 0.5 / 3)


def test_repetition_is_the_most_similar_earlier_step_without_type_credit() -> None:
    forecast = (click(0.1, 0.1), click(0.9, 0.9), click(0.13, 0.14), step("wait"), click(0.1, 0.1))
    assert repetition(forecast, 0) == 0.0  # nothing came before
    # d = hypot(0.8, 0.8) = 1.1313708: exp(-22.627417) = 1.49e-10.
    assert repetition(forecast, 1) == pytest.approx(0.0, abs=1e-9)
    assert repetition(forecast, 2) == pytest.approx(0.36787944)  # exp(-1), to the first click
    assert repetition(forecast, 3) == 0.0  # another type
    assert repetition(forecast, 4) == 1.0  # the first click again
    assert sameness(step("type", text="abcd"), step("type", text="abxd")) == pytest.approx(0.75)
    assert sameness(step("scroll", direction="up"), step("scroll", direction="down")) == 0.0


# Three keys: the first two right, the third repeats the second where the reference does something else.
REPEATING: Forecast = (step("key", key="a"), step("key", key="b"), step("key", key="b"))
REFERENCE: Forecast = (step("key", key="a"), step("key", key="b"), step("key", key="c"))


def test_trajectory_reward_cumulative() -> None:
    # sim = 1, 1, 0.2 (another key: the type's credit). align = 1 + 0.9 + 0.81 * 0.2 = 2.062.
    # rep = 0, 0, 1. penalty = 0.5 * (0.81 * 1) = 0.405. total = 2.062 - 0.405 = 1.657.
    reward = trajectory_reward(REPEATING, REFERENCE, CONFIG)
    assert [item.similarity for item in reward.steps] == pytest.approx([1.0, 1.0, 0.2])
    assert [item.repetition for item in reward.steps] == [0.0, 0.0, 1.0]
    assert [item.discount for item in reward.steps] == pytest.approx([1.0, 0.9, 0.81])
    assert reward.align == pytest.approx(2.062)
    assert reward.repetition == pytest.approx(0.405)
    assert reward.total == pytest.approx(1.657)


def test_trajectory_reward_consecutive() -> None:
    # Neighbours: a-b 0, b-b 1; their mean 0.5, undiscounted. penalty = 0.5 * 0.5 = 0.25. total = 2.062 - 0.25 = 1.812.
    reward = trajectory_reward(REPEATING, REFERENCE, RewardConfig(penalty="consecutive"))
    assert reward.repetition == pytest.approx(0.25)
    assert reward.total == pytest.approx(1.812)
    # Not neighbours: a-b-a repeats under the cumulative penalty (0.5 * 0.81), not under this one.
    apart = (REPEATING[0], REPEATING[1], REPEATING[0])
    assert trajectory_reward(apart, REFERENCE, RewardConfig(penalty="consecutive")).repetition == 0.0
    assert trajectory_reward(apart, REFERENCE, CONFIG).repetition == pytest.approx(0.405)
    # One step has no neighbour.
    assert trajectory_reward(REPEATING[:1], REFERENCE, RewardConfig(penalty="consecutive")).repetition == 0.0


def test_trajectory_reward_excess() -> None:
    config = RewardConfig(penalty="excess")
    # The reference repeats nothing, so all of it is excess: as cumulative.
    assert trajectory_reward(REPEATING, REFERENCE, config).total == pytest.approx(1.657)
    # The reference presses b three times (rep 0, 1, 1); so does the forecast: no fault. align = 1 + 0.9 + 0.81 = 2.71.
    again = (step("key", key="b"),) * 3
    reward = trajectory_reward(again, again, config)
    assert reward.repetition == 0.0
    assert reward.total == pytest.approx(2.71)
    # A fourth press lies past the reference's end: sim 0, rep 1 - 0 = 1: penalty = 0.5 * 0.729 = 0.3645.
    reward = trajectory_reward(again + again[:1], again, config)
    assert reward.align == pytest.approx(2.71)
    assert reward.total == pytest.approx(2.71 - 0.3645)
    # The cumulative penalty punishes the right forecast: 0.5 * (0.9 + 0.81) = 0.855.
    assert trajectory_reward(again, again, CONFIG).total == pytest.approx(2.71 - 0.855)


def test_weights_and_discount() -> None:
    # gamma 0.5, lambda_align 2, lambda_rep 1: align = 2 * (1 + 0.5 + 0.25 * 0.2) = 3.1; penalty = 1 * 0.25 = 0.25.
    reward = trajectory_reward(REPEATING, REFERENCE, RewardConfig(gamma=0.5, align=2.0, repetition=1.0))
    assert reward.align == pytest.approx(3.1)
    assert reward.repetition == pytest.approx(0.25)
    # gamma 1 is the ablation without a discount: 1 + 1 + 0.2 - 0.5 = 1.7.
    assert trajectory_reward(REPEATING, REFERENCE, RewardConfig(gamma=1.0)).total == pytest.approx(1.7)
    # lambda_rep 0 is the ablation without the penalty.
    assert trajectory_reward(REPEATING, REFERENCE, RewardConfig(repetition=0.0)).total == pytest.approx(2.062)


def test_a_short_forecast_earns_what_it_says() -> None:
    assert trajectory_reward(REFERENCE[:1], REFERENCE, CONFIG).total == pytest.approx(1.0)
    # Past the reference's end: sim 0 at discount 0.9; the wait repeats nothing.
    assert trajectory_reward((REFERENCE[0], step("wait")), REFERENCE[:1], CONFIG).total == pytest.approx(1.0)


PROTOTYPE = RewardConfig(form="prototype")


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("ab", "ab", 1.0),
        # The present step has the right type and the wrong text, 0.6; the next is right: (0.6 + 0.8 * 1) / 1.8.
        ("xb", "ab", 1.4 / 1.8),
        # A later step's type is worth 0.8: (1 + 0.8 * 0.8) / 1.8.
        ("ax", "ab", 1.64 / 1.8),
        # One step too few: (1 - 0.1) / (1 + 0.8).
        ("a", "ab", 0.9 / 1.8),
        # One too many in front: x takes place 1 at 0.8 - 0.1 over place 0 at 0.6, a takes place 0 at 1 - 0.1:
        # (0.8 * 0.7 + 0.9 - 0.1) / 1.8, and b is left without a place.
        ("xab", "ab", 1.36 / 1.8),
        # Five steps too many cost half of what the first earns.
        ("a" + "w" * 5, "a", 0.5),
        # Nothing matches, and the length is taken off nothing.
        ("w", "ab", 0.0),
    ],
)
def test_prototype_reward(ours: str, theirs: str, expected: float) -> None:
    made = [tuple(step("wait") if letter == "w" else step("type", text=letter) for letter in s) for s in (ours, theirs)]
    reward = trajectory_reward(*made, PROTOTYPE)
    assert reward.total == reward.align == pytest.approx(expected)
    assert reward.repetition == 0 and len(reward.steps) == len(ours)


@pytest.mark.parametrize("penalty", ["cumulative", "consecutive", "excess"])
def test_nothing_earns_exactly_nothing(penalty: str) -> None:
    config = RewardConfig.model_validate({"penalty": penalty})
    assert trajectory_reward(None, REFERENCE, config) == NOTHING
    assert trajectory_reward((), REFERENCE, config) == NOTHING
    assert NOTHING.total == 0.0


BOX = (0.2, 0.2, 0.4, 0.3)


@pytest.mark.parametrize(
    ("executed", "reference", "expected"),
    [
        # A place: inside the box, its edge included; outside is nothing, however near.
        (Action.of("click", x=0.4, y=0.3), click(0.3, 0.25, target=BOX), 1.0),
        (Action.of("click", x=0.4001, y=0.3), click(0.3, 0.25, target=BOX), 0.0),
        # No box: within the radius 0.05 of the reference point; hypot(0.03, 0.04) = 0.05, hypot(0.04, 0.04) = 0.0566.
        (Action.of("click", x=0.03, y=0.04), click(0.0, 0.0), 1.0),
        (Action.of("click", x=0.04, y=0.04), click(0.0, 0.0), 0.0),
        (Action.of("double_click", x=0.3, y=0.25), click(0.3, 0.25, target=BOX), 0.0),
        (Action("click"), click(0.3, 0.25, target=BOX), 0.0),
        (None, click(0.3, 0.25, target=BOX), 0.0),
        # Everything else by its arguments, places and amounts aside.
        (Action.of("type", text="a"), step("type", text="a", x=0.3, y=0.2, target=BOX), 1.0),
        (Action.of("type", text="A"), step("type", text="a"), 0.0),
        (Action.of("select", text="a"), step("select", text="a", x=0.3, y=0.2), 1.0),
        (Action.of("scroll", direction="up", amount=3), step("scroll", direction="up", x=0.5, y=0.5), 1.0),
        (Action.of("scroll", direction="down"), step("scroll", direction="up"), 0.0),
        (Action.of("key", key="Enter"), step("key", key="Enter"), 1.0),
        (Action.of("wait", seconds=1), step("wait"), 1.0),
        (Action.of("navigate_back"), step("navigate_back"), 1.0),
        (Action.of("answer", text="42"), step("answer", text="42"), 1.0),
        (Action.of("tool_call", name="f", arguments={"a": 1}), call("f", a=1), 1.0),
        (Action.of("tool_call", name="f", arguments={"a": 2}), call("f", a=1), 0.0),
        (Action.of("terminate", status="success"), step("terminate", status="failure"), 0.0),
    ],
)
def test_grounded_reward(executed: Action | None, reference: ForecastStep, expected: float) -> None:
    assert grounded_reward(executed, reference, radius=0.05 + 1e-9) == expected


def test_a_drag_has_to_end_where_the_reference_ended() -> None:
    reference = step("drag", x=0.1, y=0.1, to_x=0.5, to_y=0.5, target=(0.0, 0.0, 0.2, 0.2))
    assert grounded_reward(Action.of("drag", x=0.12, y=0.12, to_x=0.51, to_y=0.5), reference, 0.04) == 1.0
    assert grounded_reward(Action.of("drag", x=0.12, y=0.12, to_x=0.9, to_y=0.5), reference, 0.04) == 0.0


def test_advantages() -> None:
    # Rewards 1, 2, 3: mean 2, deviations -1, 0, 1, std = sqrt(2 / (3 - 1)) = 1: A = -1/1.0001, 0, 1/1.0001.
    assert advantages([1.0, 2.0, 3.0]) == pytest.approx([-0.99990001, 0.0, 0.99990001])
    # 0, 0, 0, 1: mean 0.25, squares 3 * 0.0625 + 0.5625 = 0.75, std = sqrt(0.75 / 3) = 0.5.
    # A = -0.25 / 0.5001 = -0.49990002 and 0.75 / 0.5001 = 1.49970006.
    assert advantages([0.0, 0.0, 0.0, 1.0]) == pytest.approx([-0.49990002] * 3 + [1.49970006])
    assert advantages([2.0, 2.0]) == [0.0, 0.0]
    assert advantages([2.0]) == [0.0]


def test_a_group_of_equal_rewards_is_dead() -> None:
    assert dead([0.3, 0.3, 0.3])
    assert dead([0.1 + 0.2, 0.3])  # equal but for rounding
    assert not dead([0.3, 0.31])


def test_a_reward_takes_no_time() -> None:
    # A step of the tiny profile is 64 completions and takes more than a second: 1 % of it is 10 ms.
    long = tuple(step("type", text=f"some text number {index}") for index in range(10))
    started = time.perf_counter()
    for _ in range(64):
        trajectory_reward(long, long, CONFIG)
    assert time.perf_counter() - started < 0.5  # a bound that holds on a busy machine; the bench measures the share

"""What has to hold of the rewards for every forecast."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.strategies import actions, boxes, forecasts, fractions, patient, texts, thousandths
from tracer.action import Action
from tracer.forecast import Forecast, ForecastStep
from tracer.grammars.grammar import grammar
from tracer.reward import (
    NOTHING,
    RewardConfig,
    advantages,
    grounded_reward,
    similarity,
    text_similarity,
    trajectory_reward,
)
from tracer.trajectory import Box, State

configs = st.builds(
    RewardConfig,
    gamma=st.floats(0.1, 1),
    align=st.floats(0, 2),
    repetition=st.floats(0, 2),
    penalty=st.sampled_from(("cumulative", "consecutive", "excess")),
    type_credit=st.floats(0, 0.9),
    distance_scale=st.floats(0.01, 1),
    text=st.sampled_from(("edit", "token_f1")),
)
CLOSE = 1e-9


@patient
@given(actions(), actions(), texts, texts, configs)
def test_similarity_is_between_0_and_1_and_1_for_the_same(
    ours: Action, theirs: Action, said: str, meant: str, config: RewardConfig
) -> None:
    a, b = ForecastStep(action=ours, instruction=said), ForecastStep(action=theirs, instruction=meant)
    assert 0.0 <= similarity(a, b, config) <= 1.0 + CLOSE
    assert similarity(a, a, config) == pytest.approx(1.0)
    if ours.type != theirs.type:
        assert similarity(a, b, config) == 0.0
    else:
        assert similarity(a, b, config) >= config.type_credit


@patient
@given(fractions, fractions, fractions, fractions, texts, texts, configs)
def test_naming_what_is_not_there_never_pays_more_than_pointing_at_something(
    x: float, y: float, goal_x: float, goal_y: float, said: str, meant: str, config: RewardConfig
) -> None:
    assume(said != meant)
    reference = ForecastStep(action=Action.of("click", x=goal_x, y=goal_y), instruction=meant)
    named = ForecastStep(action=Action("click"), instruction=said)
    pointed = ForecastStep(action=Action.of("click", x=x, y=y), instruction=said)
    assert similarity(named, reference, config) <= similarity(pointed, reference, config)


@patient
@given(forecasts(), forecasts(), configs)
def test_reward_is_bounded(forecast: Forecast, reference: Forecast, config: RewardConfig) -> None:
    reward = trajectory_reward(forecast, reference, config)
    weight = sum(config.gamma**index for index in range(len(forecast)))
    assert -CLOSE <= reward.align <= config.align * weight + CLOSE
    assert -CLOSE <= reward.repetition <= config.repetition * weight + CLOSE
    assert reward.total == reward.align - reward.repetition
    assert len(reward.steps) == len(forecast)


@patient
@given(forecasts(), forecasts(), st.sampled_from(("edit", "token_f1")))
def test_the_prototypes_reward_is_between_0_and_1_and_1_for_the_reference(
    forecast: Forecast, reference: Forecast, text: str
) -> None:
    config = RewardConfig.model_validate({"form": "prototype", "text": text})
    assert 0.0 <= trajectory_reward(forecast, reference, config).total <= 1.0
    assert trajectory_reward(reference, reference, config).total == pytest.approx(1.0)


@patient
@given(fractions, fractions, fractions, fractions, boxes() | st.none(), fractions, configs)
def test_a_nearer_point_never_scores_lower(
    x: float, y: float, goal_x: float, goal_y: float, target: Box | None, share: float, config: RewardConfig
) -> None:
    if target is not None:
        goal_x = target[0] + goal_x * (target[2] - target[0])
        goal_y = target[1] + goal_y * (target[3] - target[1])
    reference = (
        ForecastStep(action=Action.of("click", x=_clip(goal_x), y=_clip(goal_y)), instruction="", target=target),
    )
    far = (ForecastStep(action=Action.of("click", x=x, y=y), instruction=""),)
    nearer = Action.of("click", x=_clip(x + share * (goal_x - x)), y=_clip(y + share * (goal_y - y)))
    near = (ForecastStep(action=nearer, instruction=""),)
    assert trajectory_reward(near, reference, config).total >= trajectory_reward(far, reference, config).total - CLOSE


def _clip(value: float) -> float:
    return min(1.0, max(0.0, value))


@patient
@given(st.text("ab", min_size=1, max_size=8), st.text("cd", max_size=8), st.integers(0, 8), configs)
def test_a_text_with_more_of_the_reference_never_scores_lower(
    text: str, noise: str, kept: int, config: RewardConfig
) -> None:
    # Replacing a wrong letter by the right one, at a fixed length.
    wrong = (noise + "c" * len(text))[: len(text)]
    little, more = text[:kept] + wrong[kept:], text[: kept + 1] + wrong[kept + 1 :]
    reference = ForecastStep(action=Action.of("type", text=text), instruction="")
    near, far = (ForecastStep(action=Action.of("type", text=value), instruction="") for value in (more, little))
    assert similarity(near, reference, config) >= similarity(far, reference, config) - CLOSE


@patient
@given(texts, texts, st.sampled_from(("edit", "token_f1")))
def test_text_similarity_is_symmetric(left: str, right: str, method: str) -> None:
    assert text_similarity(left, right, method) == pytest.approx(text_similarity(right, left, method))


@patient
@given(forecasts(), forecasts(), st.integers(0, 4), configs)
def test_a_step_set_right_never_lowers_the_alignment(
    forecast: Forecast, reference: Forecast, index: int, config: RewardConfig
) -> None:
    assume(index < min(len(forecast), len(reference)))
    fixed = (*forecast[:index], reference[index], *forecast[index + 1 :])
    before, after = (trajectory_reward(item, reference, config) for item in (forecast, fixed))
    assert after.align >= before.align - CLOSE
    # The whole reward follows where the fixed step adds no repetition.
    if after.repetition <= before.repetition:
        assert after.total >= before.total - CLOSE


@patient
@given(forecasts(), forecasts(), configs)
def test_under_the_excess_penalty_no_forecast_beats_the_reference(
    forecast: Forecast, reference: Forecast, config: RewardConfig
) -> None:
    config = config.model_copy(update={"penalty": "excess"})
    best = trajectory_reward(reference, reference, config)
    assert best.repetition == 0.0
    assert trajectory_reward(forecast, reference, config).total <= best.total + CLOSE


@patient
@given(forecasts(size=3), forecasts(), configs)
def test_saying_it_all_twice_never_pays(forecast: Forecast, reference: Forecast, config: RewardConfig) -> None:
    # What lies past the reference's end is worth nothing, and may repeat.
    config = config.model_copy(update={"penalty": "cumulative"})
    short = reference[: len(forecast)]
    once, twice = (trajectory_reward(item, short, config) for item in (forecast, forecast + forecast))
    assert twice.total <= once.total + CLOSE


@patient
@given(forecasts(), configs)
def test_nothing_is_earned_by_nothing(reference: Forecast, config: RewardConfig) -> None:
    assert trajectory_reward(None, reference, config) == NOTHING
    assert trajectory_reward((), reference, config) == NOTHING


# Lines around the forecast that are none themselves, and hold no end of a reasoning.
prose = st.lists(st.text("abc {}[],:\"'`*#\t", max_size=20), max_size=3).map(
    lambda lines: "\n".join(line for line in lines if not line.strip().startswith("{"))
)


@patient
@given(st.lists(actions(numbers=thousandths), min_size=1, max_size=4), forecasts(), prose, prose, prose, configs)
def test_words_around_a_literal_forecast_change_nothing(
    made: list[Action], reference: Forecast, reasoning: str, before: str, after: str, config: RewardConfig
) -> None:
    literal, reasoned, state = grammar("literal"), grammar("reasoned"), State(goal="")
    lines = literal.format([ForecastStep(action=action, instruction="do it") for action in made], state)
    alone = literal.read(lines, state, 10)
    around = f"{before}\n{lines}\n{after}"
    assert literal.read(around, state, 10) == alone
    assert reasoned.read(f'{reasoning}\n{{"action": "wait"}}</think>{around}', state, 10) == alone
    spread = "\n\n".join(f"  {line}," for line in lines.split("\n"))
    assert literal.read(spread, state, 10) == alone
    # The order of the keys says nothing either.
    turned = "\n".join(json.dumps(dict(reversed(json.loads(line).items()))) for line in lines.split("\n"))
    assert literal.read(turned, state, 10) == alone


@patient
@given(actions(), actions(), boxes() | st.none(), st.floats(0.001, 0.5))
def test_grounded_reward_is_all_or_nothing(executed: Action, theirs: Action, target: Box | None, radius: float) -> None:
    reference = ForecastStep(action=theirs, instruction="", target=target)
    assert grounded_reward(executed, reference, radius) in (0.0, 1.0)
    assert grounded_reward(None, reference, radius) == 0.0
    assert grounded_reward(theirs, ForecastStep(action=theirs, instruction=""), radius) == 1.0
    if executed.type != theirs.type:
        assert grounded_reward(executed, reference, radius) == 0.0


@patient
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8), st.floats(-5, 5), st.floats(0.5, 2))
def test_advantages_are_centred_ordered_and_blind_to_a_shift(rewards: list[float], shift: float, scale: float) -> None:
    found = advantages(rewards)
    assert sum(found) == pytest.approx(0.0, abs=1e-6)
    for (a, x), (b, y) in zip(
        sorted(zip(rewards, found, strict=True)), sorted(zip(rewards, found, strict=True))[1:], strict=False
    ):
        assert a <= b and x <= y + CLOSE
    assert advantages([reward + shift for reward in rewards]) == pytest.approx(found, abs=1e-6)
    assert all(abs(value) <= len(rewards) ** 0.5 for value in found)
    if max(rewards) - min(rewards) > 0.1:  # well above epsilon
        assert advantages([reward * scale for reward in rewards]) == pytest.approx(found, rel=0.02, abs=1e-6)

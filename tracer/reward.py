"""The rewards of TraceR1 (arXiv 2603.16777), one function per formula.

Stage 1 holds a whole forecast against the reference trajectory (``trajectory_reward``); stage 2 holds what the frozen
tool agent did with the forecast's first step against the reference step (``grounded_reward``). Both train with
group-relative advantages (``advantages``). docs/paper-index.md lists which equation is which function.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field
from rapidfuzz.distance import Levenshtein

from tracer.action import GRAMMAR, Action
from tracer.forecast import Forecast, ForecastStep
from tracer.settings import Section
from tracer.trajectory import Box, Point, inside


class RewardConfig(Section):
    """The stage-1 reward. gamma, align and repetition are the paper's; the rest it leaves open, and is ours."""

    form: Literal["paper", "prototype"] = "paper"
    """The paper's sum, or that of the authors' published prototype (``prototype_reward``), which reads of this section
    only how arguments are compared."""
    gamma: float = Field(default=0.9, gt=0, le=1)
    """Discount of later steps."""
    align: float = Field(default=1.0, ge=0, le=1e6)
    """Weight of the alignment term, lambda_align."""
    repetition: float = Field(default=0.5, ge=0, le=1e6)
    """Weight of the repetition penalty, lambda_rep."""
    penalty: Literal["cumulative", "consecutive", "excess"] = "cumulative"
    """Which repetition penalty: the paper's, the article's, or ours."""
    type_credit: float = Field(default=0.2, ge=0, lt=1)
    """What the right action type with wholly wrong arguments is worth."""
    distance_scale: float = Field(default=0.05, gt=0)
    """Distance from the target, in screen fractions, at which a point's similarity falls to 1/e."""
    text: Literal["edit", "token_f1"] = "edit"
    """How texts are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReward:
    """The terms of one step of the sum, before weights and discount."""

    similarity: float
    repetition: float
    discount: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryReward:
    """R and its parts: ``total = align - repetition``, both weighted and discounted."""

    total: float
    align: float
    repetition: float
    steps: tuple[StepReward, ...]


NOTHING = TrajectoryReward(total=0.0, align=0.0, repetition=0.0, steps=())


def trajectory_reward(forecast: Forecast | None, reference: Forecast, config: RewardConfig) -> TrajectoryReward:
    """R = sum_t gamma^(t-1) (lambda_align sim(a_t, a*_t) - lambda_rep rep(a_1:t)), t = 1 .. len(forecast).

    A forecast step beyond the reference's end has similarity 0. The ``consecutive`` penalty is not discounted and
    counts once. None (unparsable) or an empty forecast earns exactly nothing. Source: paper, stage-1 reward.
    """
    if not forecast:
        return NOTHING
    if config.form == "prototype":
        return prototype_reward(forecast, reference, config)
    repeated = [repetition(forecast, index) for index in range(len(forecast))]
    if config.penalty == "excess":
        expected = [repetition(reference, index) for index in range(len(reference))]
        expected += [0.0] * (len(forecast) - len(reference))
        repeated = [max(0.0, ours - theirs) for ours, theirs in zip(repeated, expected, strict=False)]
    if config.penalty == "consecutive":
        repeated = [0.0] + [sameness(a, b) for a, b in itertools.pairwise(forecast)]
    steps = tuple(
        StepReward(
            similarity=similarity(step, reference[index], config) if index < len(reference) else 0.0,
            repetition=repeated[index],
            discount=config.gamma**index,
        )
        for index, step in enumerate(forecast)
    )
    align = config.align * sum(step.discount * step.similarity for step in steps)
    if config.penalty == "consecutive":
        penalty = sum(repeated) / (len(forecast) - 1) if len(forecast) > 1 else 0.0
    else:
        penalty = sum(step.discount * step.repetition for step in steps)
    penalty *= config.repetition
    return TrajectoryReward(total=align - penalty, align=align, repetition=penalty, steps=steps)


PROTOTYPE_GAMMA = 0.8
PROTOTYPE_TYPE = (0.6, 0.8)
"""What the right type is worth, of the present step and of later ones; the arguments are worth the rest."""
PROTOTYPE_SHIFT = 0.1
"""Off for each place that a step is away from where the reference has it."""
PROTOTYPE_MATCH = 0.5
"""What a step has to be worth, the shift off, to be matched with another place."""
PROTOTYPE_LENGTH = 0.1
"""Off for each step too many or too few."""


def prototype_reward(forecast: Forecast, reference: Forecast, config: RewardConfig) -> TrajectoryReward:
    """The reward of the authors' prototype of stage 1, in [0, 1]: no repetition penalty, but one for the length.

    R = clip((sum_t gamma^(t-1) worth_t - 0.1 |difference of lengths|) / sum_t gamma^(t-1), 0, 1), t over the
    reference's steps. Where both have one length, steps are compared place by place; otherwise each forecast step, in
    order, takes the free reference step that it is worth most at, less 0.1 for each place of shift, if that is over
    0.5. Source: the settings of cheryyunl/EasyR1 (2025), without the share for the answer's format: ours has none.
    """
    discounts = [PROTOTYPE_GAMMA**index for index in range(max(len(forecast), len(reference)))]
    free = list(range(len(reference)))
    steps = []
    for index, step in enumerate(forecast):
        if len(forecast) == len(reference):
            place, worth = index, _worth(step, reference[index], index, config)
        else:
            shifted = {at: _worth(step, reference[at], at, config) - PROTOTYPE_SHIFT * abs(at - index) for at in free}
            place = max(shifted, key=shifted.__getitem__, default=index)  # of equals the first
            worth = shifted.get(place, 0.0)
            if worth > PROTOTYPE_MATCH:
                free.remove(place)
            else:
                place, worth = index, 0.0
        steps.append(StepReward(similarity=worth, repetition=0.0, discount=discounts[place]))
    earned = sum(step.discount * step.similarity for step in steps)
    earned -= PROTOTYPE_LENGTH * abs(len(forecast) - len(reference))
    total = min(1.0, max(0.0, earned / sum(discounts[: len(reference)])))
    return TrajectoryReward(total=total, align=total, repetition=0.0, steps=tuple(steps))


def _worth(predicted: ForecastStep, reference: ForecastStep, place: int, config: RewardConfig) -> float:
    return similarity(predicted, reference, config, credit=PROTOTYPE_TYPE[min(place, 1)])


def similarity(
    predicted: ForecastStep, reference: ForecastStep, config: RewardConfig, credit: float | None = None
) -> float:
    """sim(a, a*) in [0, 1]: 1 for the same action, 0 for another type, in between by the arguments.

    ``credit`` is what the right type is worth by itself, by default ``config.type_credit``.
    """
    if predicted.action.type != reference.action.type:
        return 0.0
    credit = config.type_credit if credit is None else credit
    return credit + (1 - credit) * argument_similarity(predicted, reference, config)


def argument_similarity(predicted: ForecastStep, reference: ForecastStep, config: RewardConfig) -> float:
    """How near the arguments of two steps of one type are, in [0, 1].

    A point by its distance to the target's box (else to the reference point); a text by edit similarity or token F1;
    direction, key and status by equality; a tool call by its name and the share of its arguments that are equal.
    A step that names a target not yet on the screen, and so has no point, names the same one or another: anything in
    between would pay more for an invented name than for a wrong element. Types without arguments are equal. Where a
    text is typed and how far is scrolled do not count.
    """
    ours, theirs = predicted.action, reference.action
    if theirs.type == "tool_call":
        return tool_call_similarity(ours, theirs)
    if theirs.type == "drag":
        ends = [((a.get("x"), a.get("y")), (a.get("to_x"), a.get("to_y"))) for a in (ours, theirs)]
        parts = [nearness(a, b, None, config.distance_scale) for a, b in zip(*ends, strict=True)]
        return sum(parts) / len(parts)
    text = theirs.get("text", theirs.get("app"))
    if text is not None:
        return text_similarity(ours.get("text", ours.get("app")), text, config.text)
    for name in ("direction", "key", "status"):
        if theirs.get(name) is not None:
            return float(ours.get(name) == theirs.get(name))
    if "x" not in GRAMMAR[theirs.type][0]:  # no argument that counts: navigate_back, wait
        return 1.0
    if ours.point is None or theirs.point is None:
        return float(predicted.instruction == reference.instruction)
    return nearness(ours.point, theirs.point, reference.target, config.distance_scale)


def nearness(point: Point, goal: Point, target: Box | None, scale: float) -> float:
    """exp(-d / scale), d the distance (in screen fractions) to the target's box, or to the goal where there is none."""
    left, top, right, bottom = target if target is not None else (*goal, *goal)
    across = max(left - point[0], 0.0, point[0] - right)
    down = max(top - point[1], 0.0, point[1] - bottom)
    return math.exp(-math.hypot(across, down) / scale)


def text_similarity(ours: str, theirs: str, method: str) -> float:
    """Edit similarity (1 - Levenshtein distance / longer length) or token F1, both in [0, 1]."""
    if method == "edit":
        return Levenshtein.normalized_similarity(ours, theirs)
    if ours == theirs:
        return 1.0
    left, right = ours.split(), theirs.split()
    common = sum(min(left.count(token), right.count(token)) for token in set(left))
    return 2 * common / (len(left) + len(right)) if common else 0.0


def tool_call_similarity(ours: Action, theirs: Action) -> float:
    """0 for another tool; else half for the name and half for the share of equal arguments, over both sides' names."""
    if ours.get("name") != theirs.get("name"):
        return 0.0
    left, right = ours.tool_arguments, theirs.tool_arguments
    names = left.keys() | right.keys()
    equal = sum(name in left and name in right and left[name] == right[name] for name in names)
    return 0.5 + 0.5 * (equal / len(names) if names else 1.0)


def repetition(forecast: Sequence[ForecastStep], index: int) -> float:
    """rep(a_1:t) in [0, 1]: how much step ``index`` repeats its most similar earlier step of the forecast."""
    return max((sameness(forecast[index], earlier) for earlier in forecast[:index]), default=0.0)


STRICT = RewardConfig(type_credit=0.0)


def sameness(step: ForecastStep, other: ForecastStep) -> float:
    """Similarity without credit for the type alone: two clicks far apart repeat nothing."""
    return similarity(step, other, STRICT)


def grounded_reward(executed: Action | None, reference: ForecastStep, radius: float) -> float:
    """1 if what the frozen tool agent did matches the reference step, else 0. Source: paper, stage-2 reward.

    A place has to lie inside the target's box, or within ``radius`` (screen fractions) of the reference point where
    no box is known, and a drag's end within ``radius`` of the reference's; every other argument has to be equal.
    None: the tool agent found nothing to do.
    """
    if executed is None or executed.type != reference.action.type:
        return 0.0
    theirs = reference.action
    if theirs.point is not None and theirs.type not in ("type", "select", "scroll"):
        if executed.point is None:
            return 0.0
        if theirs.type == "drag" and math.dist(_end(executed), _end(theirs)) > radius:
            return 0.0
        if reference.target is not None:
            return float(inside(executed.point, reference.target))
        return float(math.dist(executed.point, theirs.point) <= radius)
    return float(_without_place(executed) == _without_place(theirs))


def _end(drag: Action) -> Point:
    return (drag.get("to_x"), drag.get("to_y"))


def _without_place(action: Action) -> dict[str, object]:
    return {name: value for name, value in action.arguments if name not in ("x", "y", "amount", "seconds")}


def advantages(rewards: Sequence[float], epsilon: float = 1e-4) -> list[float]:
    """A_i = (r_i - mean(r)) / (std(r) + epsilon) over one group's G rewards, std with G - 1. Source: GRPO, A_i."""
    mean = sum(rewards) / len(rewards)
    spread = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / max(1, len(rewards) - 1))
    return [(reward - mean) / (spread + epsilon) for reward in rewards]


def dead(rewards: Sequence[float]) -> bool:
    """Whether a group's rewards are all equal, so that it teaches nothing."""
    return max(rewards) - min(rewards) < 1e-9

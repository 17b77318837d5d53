"""How one forecast is scored against the reference: the definitions behind every number of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tracer.action import Action
from tracer.forecast import Forecast, ForecastStep
from tracer.planner.plan import Plan
from tracer.reward import RewardConfig, grounded_reward, repetition, similarity
from tracer.tools.tool_agent import complete

METRICS: Mapping[str, str] = {
    "step": "step success: type, place and arguments of the executed first step, grounded by the tool agent",
    "step_own": "step success by the planner's own coordinates",
    "type": "action type of the first step",
    "grounding": "place of the first step, grounded by the tool agent, where the reference has a place",
    "grounding_own": "place of the first step by the planner's own coordinates, where the reference has a place",
    "similarity": "discounted forecast similarity, in [0, 1]",
    "prefix": "correct steps before the first wrong one",
    "prefix_share": "the same as a share of the reference's steps",
    "repetition": "mean repetition of the forecast's steps",
    "excess": "the same beyond what the reference itself repeats at that step",
    "parsed": "answers whose first line parses",
    "cut": "forecasts that end before a later line that does not parse",
}
"""The metrics of a state, in the order of the tables."""

BINARY = ("step", "step_own", "type", "grounding", "grounding_own", "parsed", "cut")
EXACT = 1 - 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class StateScore:
    """One state's scores, by the names of ``METRICS``. None: not scorable, and left out of the mean."""

    parsed: float
    cut: float
    type: float
    grounding: float | None
    grounding_own: float | None
    step: float
    step_own: float
    similarity: float
    prefix: float
    prefix_share: float
    repetition: float | None
    excess: float | None
    """A date picker's "next" clicked eight times is no fault where the reference does it too."""
    right: tuple[bool, ...]
    """Whether each step of the reference came true; False where the forecast ends before it."""

    def to_dict(self) -> dict[str, Any]:
        """The scores as a JSON object, rounded to nine digits."""
        return {name: round(value, 9) if isinstance(value, float) else value for name, value in asdict(self).items()}


def score(plan: Plan, executed: Action | None, reference: Forecast, config: RewardConfig, radius: float) -> StateScore:
    """Score a plan against what was really done from its state on (at least one step).

    ``executed`` is what the tool agent made of the plan's first step, None where it made nothing of it.
    An answer that does not parse is wrong in everything, and has no repetition.
    """
    forecast = plan.forecast or ()
    first = forecast[0] if forecast else None
    own = complete(first.action) if first else None
    right = correct(forecast, reference, config, radius)
    prefix = right.index(False) if False in right else len(right)
    repeated = [repetition(forecast, index) for index in range(len(forecast))]
    expected = [repetition(reference, index) for index in range(len(reference))] + [0.0] * len(forecast)
    excess = [max(0.0, mine - theirs) for mine, theirs in zip(repeated, expected, strict=False)]
    return StateScore(
        parsed=float(bool(forecast)),
        cut=float(plan.cut),
        type=float(first is not None and first.action.type == reference[0].action.type),
        grounding=_place(executed, reference[0], radius),
        grounding_own=_place(own, reference[0], radius),
        step=grounded_reward(executed, reference[0], radius),
        step_own=grounded_reward(own, reference[0], radius),
        similarity=forecast_similarity(forecast, reference, config),
        prefix=float(prefix),
        prefix_share=prefix / len(reference),
        repetition=sum(repeated) / len(repeated) if repeated else None,
        excess=sum(excess) / len(excess) if excess else None,
        right=(*right, *[False] * (len(reference) - len(right))),
    )


def forecast_similarity(forecast: Forecast, reference: Forecast, config: RewardConfig) -> float:
    """sum_t gamma^(t-1) sim(a_t, a*_t) / sum_t gamma^(t-1), both over the reference's steps: 1 for the reference.

    The alignment part of the stage-1 reward, brought to [0, 1]. Steps beyond the reference's end change nothing.
    """
    discounts = [config.gamma**index for index in range(len(reference))]
    similar = [similarity(ours, theirs, config) for ours, theirs in zip(forecast, reference, strict=False)]
    return sum(d * s for d, s in zip(discounts, similar, strict=False)) / sum(discounts)


def correct(forecast: Forecast, reference: Forecast, config: RewardConfig, radius: float) -> list[bool]:
    """Step by step whether the forecast is right, for the steps that both have.

    A step with a place is right as stage 2 has it (in the target's box). A step that names a target not yet on the
    screen is right if it is worded as the reference; any other step if its arguments are equal.
    """
    return [_right(ours, theirs, config, radius) for ours, theirs in zip(forecast, reference, strict=False)]


def _right(ours: ForecastStep, theirs: ForecastStep, config: RewardConfig, radius: float) -> bool:
    if complete(ours.action) is not None:
        return grounded_reward(ours.action, theirs, radius) > 0
    return similarity(ours, theirs, config) >= EXACT


def _place(executed: Action | None, reference: ForecastStep, radius: float) -> float | None:
    """1 if the action's place is the reference's, 0 if not, None where the reference step has no place."""
    if "x" not in dict(reference.action.arguments) or reference.action.type in ("type", "select", "scroll"):
        return None
    if executed is None or executed.point is None:
        return 0.0
    # The place alone: a double click on the right element is well grounded, and wrong.
    return grounded_reward(reference.action.at(*executed.point), reference, radius)

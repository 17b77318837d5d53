"""Stage 1, trajectory RL: a sampled forecast is rewarded by how well it matches what was really done.

R = sum over t of gamma^(t-1) * (lambda_align * sim(a_t, a*_t) - lambda_rep * rep(a_1:t)), over the forecast's steps;
GRPO turns the rewards of a group of forecasts into advantages.
"""

from __future__ import annotations

from tracer.config import Config
from tracer.examples import Example
from tracer.grammars.grammar import grammar
from tracer.reward import trajectory_reward
from tracer.training.score import Score, Scored
from tracer.training.stage import Promise, Stage

PARTS = ("align", "repetition")


def scorer(config: Config) -> Score:
    """The stage-1 reward of an answer, its two weighted parts."""
    written = grammar(config.planner.grammar, config.planner.parse)

    def score(prompt: Example, answer: str) -> Scored:
        reading = written.read(answer, prompt.state, config.planner.horizon)
        reward = trajectory_reward(reading.forecast, prompt.reference, config.reward)
        parts = zip(PARTS, (reward.align, -reward.repetition), strict=True)
        return Scored(parts=dict(parts), reading=reading)

    return score


STAGE = Stage(
    name="stage1",
    title="stage 1",
    about="trajectory RL: forecasts are rewarded for matching what was really done",
    start="base",
    judges=("reward",),
    parts=lambda _: PARTS,
    scorer=scorer,
    promises=(Promise(metric="similarity", text="Stage 1 forecasts more like the demonstrations than the base"),),
)

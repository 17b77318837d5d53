"""Stage 1, trajectory RL: a sampled forecast is rewarded by how well it matches what was really done.

R = sum over t of gamma^(t-1) * (lambda_align * sim(a_t, a*_t) - lambda_rep * rep(a_1:t)), over the forecast's steps;
GRPO turns the rewards of a group of forecasts into advantages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.forecast import ForecastError
from tracer.grammars.grammar import grammar
from tracer.reward import trajectory_reward
from tracer.training import grpo
from tracer.training.processes import run_step

PARTS = ("align", "repetition")


def train(config: Config, trajectories: Path, base: Path, out: Path) -> dict[str, Any]:
    """Train ``base`` on the validated trajectories into ``out``; return the lineage."""
    return run_step(
        "stage1",
        config=config.shaping("stage1"),
        inputs={"trajectories": trajectories, "base": base},
        out=out,
        module=__name__,
        body=lambda folder: grpo.train(config, config.stage1, PARTS, scorer(config), trajectories, base, folder),
        seed=config.seed,
    )


def scorer(config: Config) -> grpo.Score:
    """The stage-1 reward of an answer, its two weighted parts."""
    written = grammar(config.planner.grammar)

    def score(prompt: grpo.Prompt, answer: str) -> grpo.Scored:
        try:
            forecast = written.parse(answer, prompt.state, config.planner.horizon)
        except ForecastError:
            forecast = None
        reward = trajectory_reward(forecast, prompt.reference, config.reward)
        return grpo.Scored(parts={"align": reward.align, "repetition": -reward.repetition}, parsed=forecast is not None)

    return score

"""Stage 2, grounded RL: the forecast's first step goes to a frozen tool agent, and only its outcome is rewarded.

For a step on a screen the tool agent turns the step instruction and the screen into a place, worth 1 if it lies where
the reference acted, else 0. GRPO turns the rewards of a group of forecasts into advantages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tracer import tools
from tracer.config import Config
from tracer.forecast import ForecastError
from tracer.grammars.grammar import grammar
from tracer.reward import grounded_reward
from tracer.training import grpo
from tracer.training.processes import run_step

PARTS = ("grounded",)


def train(config: Config, trajectories: Path, stage1: Path, out: Path) -> dict[str, Any]:
    """Train the planner of ``stage1`` (or any other start) into ``out``; return the lineage."""
    return run_step(
        "stage2",
        config=config.shaping("stage2"),
        inputs={"trajectories": trajectories, "stage1": stage1},
        out=out,
        module=__name__,
        body=lambda folder: grpo.train(config, config.stage2, PARTS, scorer(config), trajectories, stage1, folder),
        seed=config.seed,
    )


def scorer(config: Config) -> grpo.Score:
    """The stage-2 reward of an answer: what the frozen tool agent made of its first step."""
    written, agent = grammar(config.planner.grammar), tools.load(config.grounding)

    def score(prompt: grpo.Prompt, answer: str) -> grpo.Scored:
        try:
            forecast = written.parse(answer, prompt.state, config.planner.horizon)
        except ForecastError:
            return grpo.Scored(parts={"grounded": 0.0}, parsed=False)
        executed = agent.ground(prompt.state, forecast[0])
        reward = grounded_reward(executed, prompt.reference[0], config.grounding.radius)
        return grpo.Scored(parts={"grounded": reward}, parsed=True)

    return score

"""Stage 2, grounded RL: the forecast's first step goes to a frozen tool agent, and only its outcome is rewarded.

For a step on a screen the tool agent turns the step instruction and the screen into a place, worth 1 if it lies where
the reference acted, else 0. A tool call is executed (tracer/tools/execution.py), worth 1 if it achieves what the
reference's call does, else 0; one that no executor can run is compared with the reference. Nothing holds the later
steps; ``stage2.keep`` adds a share of the stage-1 reward. GRPO turns the rewards of a group of forecasts into
advantages.
"""

from __future__ import annotations

from collections.abc import Sequence

from tracer import tools
from tracer.config import Config
from tracer.examples import Example
from tracer.grammars.grammar import grammar
from tracer.reward import grounded_reward, trajectory_reward
from tracer.tools.execution import Executors
from tracer.training.score import Score, Scored
from tracer.training.stage import Promise, Stage

GROUNDED, KEPT = "grounded", "kept"


def parts(config: Config) -> tuple[str, ...]:
    """The names of the reward's parts."""
    return (GROUNDED, KEPT) if config.stage2.keep else (GROUNDED,)


def reads(config: Config) -> int:
    """The first step alone, where nothing is kept of stage 1 and a bad later line does not void it."""
    return 1 if config.planner.parse == "prefix" and not config.stage2.keep else config.planner.horizon


def scorer(config: Config) -> Score:
    """The stage-2 reward of an answer: what the tool agent made of its first step, and what is kept of stage 1."""
    written = grammar(config.planner.grammar, config.planner.parse)
    agent, executors = tools.load(config.grounding), Executors(config.grounding.executors)

    def score(prompt: Example, answer: str) -> Scored:
        reading = written.read(answer, prompt.state, config.planner.horizon)
        executed = agent.ground(prompt.state, reading.forecast[0]) if reading.forecast else None
        reward = executors.reward(prompt, executed)
        if reward is None:
            reward = grounded_reward(executed, prompt.reference[0], config.grounding.radius)
        found = {GROUNDED: reward}
        if config.stage2.keep:
            whole = trajectory_reward(reading.forecast, prompt.reference, config.reward)
            found[KEPT] = config.stage2.keep * whole.total
        return Scored(parts=found, reading=reading)

    return score


def counts(config: Config, states: Sequence[Example]) -> dict[str, int]:
    """How many states with a tool call were executed, and how many compared with the reference."""
    return Executors(config.grounding.executors).counts(states)


STAGE = Stage(
    name="stage2",
    title="stage 2",
    about="grounded RL: the forecast's first step is rewarded for what the frozen tool agent makes of it",
    start="stage1",
    judges=("grounding", "reward"),
    parts=parts,
    scorer=scorer,
    reads=reads,
    counts=counts,
    promises=(
        Promise(metric="step", text="Stage 2 takes more right steps than stage 1"),
        Promise(
            metric="success", text="Both stages solve more tasks in the browser than the base", online=True, over="base"
        ),
    ),
)

"""What an agent is: a strategy that decides when to ask the planner for a forecast, and which step of it to execute.

An agent lives for one episode. It does not call the planner itself: it says how many steps it wants forecast, so that
the states of many episodes are forecast in one batch (``act_all``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from tracer.action import Action
from tracer.forecast import Forecast, ForecastStep
from tracer.planner.plan import Plan, Planner
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an agent does in one state: an action to execute, or why it gives up."""

    action: Action | None
    step: ForecastStep | None = None
    """The forecast's step that the action carries out."""
    reason: str = ""
    """Why there is no action; empty if there is one."""
    text: str = ""
    """The planner's answer, where it was asked in this state."""


class Agent(Protocol):
    """A strategy, for one episode."""

    name: str

    def wants(self, state: State) -> int:
        """How many steps it wants forecast in this state; 0 where it goes on with what it has."""

    def act(self, state: State, plan: Plan | None) -> Decision:
        """What to do in this state; ``plan`` is the forecast asked for, or None where none was."""


def execute(step: ForecastStep, state: State, tools: ToolAgent, plan: Plan | None) -> Decision:
    """The decision to execute a step on a screen, grounded by the tool agent; ``plan`` is what was asked for here."""
    action = tools.ground(state, step)
    reason = "" if action is not None else f"the tool agent {tools.name!r} finds nothing to do for: {step.instruction}"
    return Decision(action=action, step=step, reason=reason, text=plan.text if plan else "")


def steps_of(plan: Plan | None) -> Forecast | Decision:
    """The steps of a forecast that was asked for, at least one; or the decision to give up where it has none."""
    if plan is None:
        return Decision(action=None, reason="the agent was given no forecast")
    if not plan.forecast:
        return Decision(action=None, reason=f"unparsable: {plan.error or 'the forecast is empty'}", text=plan.text)
    return plan.forecast


def act_all(agents: Sequence[Agent], planner: Planner, states: Sequence[State]) -> list[Decision]:
    """One decision an agent; the states in which a forecast is wanted go to the planner together."""
    wanted = [agent.wants(state) for agent, state in zip(agents, states, strict=True)]
    plans: list[Plan | None] = [None] * len(agents)
    for horizon in sorted(set(wanted) - {0}):
        chosen = [index for index, steps in enumerate(wanted) if steps == horizon]
        answers = planner.forecast([states[index] for index in chosen], horizon)
        for index, plan in zip(chosen, answers, strict=True):
            plans[index] = plan
    return [agent.act(state, plan) for agent, state, plan in zip(agents, states, plans, strict=True)]

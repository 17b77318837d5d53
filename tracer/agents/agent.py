"""What an agent is: a strategy that decides when to ask the planner for a forecast, and which step of it to execute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tracer.action import Action
from tracer.agents.consistency import Taken, objection
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
    plan: Plan | None = None
    """The planner's answer that was decided on: where the agent names none, the last one (``act_all`` notes it)."""
    note: str = ""
    """What the agent says of its choice."""
    calls: int = 0
    """How often the planner was asked in this state."""
    tokens: int = 0
    """The tokens that its answers took."""


class Agent:
    """A strategy, for one episode. This one forecasts T steps, executes the first, looks, and forecasts again.

    Other strategies are subclasses that override ``wants``, ``view`` or ``act``, registered as entry points of the
    group ``tracer.agents``. An agent does not call the planner itself: it says how many steps it wants forecast, so
    that the states of many episodes are forecast in one batch (``act_all``).
    """

    def __init__(
        self, tools: ToolAgent, horizon: int, *, check: bool = False, retries: int = 0, budget: int = 8
    ) -> None:
        """``check``: skip steps that something speaks against (tracer/agents/consistency.py). ``retries``: how often
        the planner is asked again in a state in which its answer leads to no action. ``budget``: the calls of the
        planner that an agent which searches spends in a state."""
        self.tools = tools
        self.horizon = horizon
        self.check = check
        self.retries = retries
        self.budget = budget
        self.left: Forecast = ()
        """The steps of the last forecast behind the one that was executed."""
        self.skipped: list[str] = []
        """Why steps were skipped, in order."""
        self._taken: list[Taken] = []

    def wants(self, state: State) -> int:
        """How many steps it wants forecast in this state; 0 where it goes on with what it has."""
        return self.horizon

    def view(self, state: State) -> State:
        """What the planner is shown of this state."""
        return state

    def act(self, state: State, plan: Plan | None) -> Decision:
        """What to do in this state; ``plan`` is the forecast asked for, or None where none was."""
        if plan is None:
            return Decision(action=None, reason="the agent was given no forecast")
        if not plan.forecast:
            return Decision(action=None, reason=f"unparsable: {plan.error or 'the forecast is empty'}")
        return self.execute(plan.forecast, state)

    def execute(self, steps: Forecast, state: State) -> Decision:
        """The decision to execute the first of the steps, grounded by the tool agent.

        With ``check`` it is the first that nothing speaks against. A greedy planner asked again in the same state
        answers the same, so a refused step is skipped rather than asked for again; if all are refused, the first is
        executed, as it would be without the check.
        """
        chosen = self._unobjectionable(steps, state) if self.check else 0
        step = steps[chosen]
        action = self.tools.ground(state, step)
        if action is None:
            reason = f"the tool agent {self.tools.name!r} finds nothing to do for: {step.instruction}"
            return Decision(action=None, step=step, reason=reason)
        self.left = steps[chosen + 1 :]
        self._taken.append(Taken(step=step, elements=state.elements))
        return Decision(action=action, step=step)

    def _unobjectionable(self, steps: Forecast, state: State) -> int:
        objections = [objection(step, state, self._taken, self.tools) for step in steps]
        first = objections.index("") if "" in objections else 0
        self.skipped += objections[:first]
        return first


def act_all(agents: Sequence[Agent], planner: Planner, states: Sequence[State]) -> list[Decision]:
    """One decision per agent; the states in which a forecast is wanted go to the planner together.

    Where an answer leads to no action, as it does not parse or names nothing on the screen, the planner is asked again
    for a sampled one, up to the agent's ``retries``. Every answer counts in the decision's ``calls`` and ``tokens``.
    """
    decisions = [Decision(action=None)] * len(agents)
    left, attempt = list(range(len(agents))), 0
    while left:
        wanted = {index: agents[index].wants(states[index]) for index in left}
        plans: dict[int, Plan] = {}
        for horizon in sorted(set(wanted.values()) - {0}):
            chosen = [index for index in left if wanted[index] == horizon]
            views = [agents[index].view(states[index]) for index in chosen]
            plans |= zip(chosen, planner.forecast(views, horizon, attempt), strict=True)
        for index in left:
            before, plan = decisions[index], plans.get(index)
            decided = agents[index].act(states[index], plan)
            decisions[index] = replace(
                decided,
                plan=decided.plan or plan,
                calls=before.calls + (plan is not None),
                tokens=before.tokens + (plan.tokens if plan else 0),
            )
        attempt += 1
        left = [index for index in plans if decisions[index].action is None and attempt <= agents[index].retries]
    return decisions

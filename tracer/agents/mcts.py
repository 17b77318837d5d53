"""Monte Carlo tree search over the planner's own forecasts: no environment is tried, the planner imagines.

A node is a step, below the steps that lead to it. Each of the ``budget`` calls goes down the tree (UCT), asks the
planner for a forecast from where it arrives, as if the steps so far had been taken, and adds that forecast's first
step. The value is the forecast's own score: the planner's confidence in it. The step that was visited most is executed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from tracer.agents.agent import Agent, Decision
from tracer.forecast import ForecastStep
from tracer.planner.plan import Plan
from tracer.tools.tool_agent import ToolAgent
from tracer.trajectory import State

EXPLORE = 0.5
"""UCT's constant; values are in [0, 1]."""


class NoConfidence(RuntimeError):
    """The planner does not say how probable its answers are."""


@dataclass(slots=True)
class Node:
    """A step that was forecast; the root is the present state."""

    step: ForecastStep | None = None
    children: dict[str, Node] = field(default_factory=dict)
    visits: int = 0
    total: float = 0.0
    asked: int = 0
    """How often the planner was asked for a forecast from here."""
    best: tuple[float, Plan | None] = (-1.0, None)
    """The forecast of the highest value that begins with this step."""

    @property
    def value(self) -> float:
        """The mean value of the forecasts through this node."""
        return self.total / max(self.visits, 1)

    def promise(self, parent: Node) -> float:
        """UCT: the value, and what is not known about it."""
        return self.value + EXPLORE * math.sqrt(math.log(parent.visits) / self.visits)


class Mcts(Agent):
    """It spends the whole budget in each state; the calls count as any other."""

    def __init__(
        self, tools: ToolAgent, horizon: int, *, check: bool = False, retries: int = 0, budget: int = 8
    ) -> None:
        """As any agent; answers that lead nowhere are a part of the budget, and no reason to ask again."""
        super().__init__(tools, horizon, check=check, retries=budget - 1, budget=budget)
        self._path = [Node()]

    def wants(self, state: State) -> int:
        """What is left of the horizon where the next call goes."""
        self._path = [self._path[0]]
        # A node is asked about again as the square root of its visits grows; in between, its children are.
        while (node := self._path[-1]).children and node.asked**2 > node.visits and len(self._path) < self.horizon:
            self._path.append(max(node.children.values(), key=lambda child: child.promise(node)))
        return self.horizon - len(self._path) + 1

    def view(self, state: State) -> State:
        """The present screen, as if the steps down to there had been taken."""
        imagined = tuple(node.step.instruction for node in self._path if node.step)
        return replace(state, history=(*state.history, *imagined))

    def act(self, state: State, plan: Plan | None) -> Decision:
        """Add the forecast to the tree; once the budget is spent, execute the best step. Raises ``NoConfidence``."""
        root, node = self._path[0], self._path[-1]
        node.asked += 1
        value = 0.0
        first = plan.forecast[0] if plan and plan.forecast else None
        # A first step that cannot be executed now is none; later ones may name what is yet to come.
        if plan and first and (node is not root or self.tools.ground(state, first) is not None):
            if plan.confidence is None:
                raise NoConfidence("mcts needs a planner that says how probable its answers are; this one does not")
            value = plan.confidence
            child = node.children.setdefault(first.instruction, Node(first))
            child.best = max(child.best, (value, plan), key=lambda pair: pair[0])
            self._path.append(child)
        for each in self._path:
            each.visits += 1
            each.total += value
        if root.visits < self.budget:
            return Decision(action=None, reason="the search goes on")
        self._path = [Node()]
        return self._chosen(root, state, plan)

    def _chosen(self, root: Node, state: State, last: Plan | None) -> Decision:
        if not root.children:
            return super().act(state, last)
        child = max(root.children.values(), key=lambda each: (each.visits, each.value))
        plan = child.best[1]
        note = f"of {len(root.children)} first steps, {child.visits} of {root.visits} calls, value {child.value:.2f}"
        return replace(super().act(state, plan), plan=plan, note=note)

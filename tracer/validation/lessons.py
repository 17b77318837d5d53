"""What training on data will not work, told before it is tried: nothing to point at, too few episodes, goals all alike.

None of this makes data wrong. ``of_step`` says what is the matter with a step. The step table has it as columns, which
the suite counts; ``Lessons`` counts it for data that was not ingested yet (``tracer ingest --check``).
"""

from __future__ import annotations

from collections import Counter

from tracer.action import POINTED, Action
from tracer.forecast import ForecastError, ForecastStep
from tracer.grammars.grammar import grammar
from tracer.grammars.pointing import MAX_ELEMENTS
from tracer.planner.settings import PlannerConfig
from tracer.trajectory import State, Trajectory, element_at, state_at

MIN_EPISODES = 3
"""Training episodes of a task: the base planner of the sample data has seen as many of each page."""
MAX_SHRUNK = 4.0
"""How many pixels of a screen one pixel of the planner's picture may stand for: letters of 8 pixels are then 4 high."""
MAX_REPEATED = 0.3
"""The share of steps that may repeat the one before: of the sample data, with its date pickers, 22 % do."""
SMALLER = "record in a smaller window, or choose a planner with larger pictures (docs/full-size.md)"
FIXES = {
    "listless_problem": "record with `tracer record`, which lists elements, or set planner.grammar to literal, for a "
    "model that was pretrained on screens",
    "unshown_problem": f"the pointing grammar shows the first {MAX_ELEMENTS} elements: record in a smaller window, or "
    "set planner.grammar to literal",
    "unwritable_problem": "set planner.grammar to literal, which writes every action, or leave these steps out",
    "shrunk_problem": f"{SMALLER}; planner.image=false leaves the picture out",
    "repeats_problem": "the reward takes repetition off: record one step for them (type a text, scroll further), or "
    "lower reward.repetition",
    "few_problem": f"record at least {MIN_EPISODES} episodes of each task, or give them one task (--task)",
}
"""What to do about each; the keys are columns of the step table."""
GOALS = "name in each goal what differs between the episodes: from one goal a planner learns one answer"
Size = tuple[int, int]


def of_step(
    action: Action, instruction: str, state: State, before: Action | None, planner: PlannerConfig, sees: Size | None
) -> dict[str, str | None]:
    """What will not work about a step, in words, or None; ``before`` is the step before it.

    ``sees`` is the size to which the planner shrinks every picture, where it does.
    """
    pointing, pointed = planner.grammar == "pointing", action.type in POINTED
    elements = state.elements or ()
    shown = element_at(action.point, elements[:MAX_ELEMENTS]) if action.point else None
    there = element_at(action.point, elements) if action.point else None
    shrunk = state.width * state.height / (sees[0] * sees[1]) if sees and planner.image else 0.0
    return {
        "listless_problem": "it points, and the screen has no elements"
        if pointing and pointed and not elements
        else None,
        "unshown_problem": f"element {there} is not shown"
        if pointing and there is not None and shown is None
        else None,
        "unwritable_problem": _unwritable(action, instruction, state, planner),
        "shrunk_problem": f"{state.width} x {state.height} is seen as {sees[0]} x {sees[1]}"
        if sees and shrunk > MAX_SHRUNK
        else None,
        "repeats_problem": f"{instruction!r} is done again" if action == before else None,
    }


def _unwritable(action: Action, instruction: str, state: State, planner: PlannerConfig) -> str | None:
    """Why the planner's grammar cannot say a step; None if what it writes is read as the same action."""
    writer = grammar(planner.grammar)
    text = writer.format([ForecastStep(action=action, instruction=instruction)], state)
    try:
        (line,) = writer.lines(text)
        read = writer.step(line, state).action
    except (ForecastError, ValueError) as error:
        return f"{planner.grammar} cannot write it: {error}"
    same = read.type == action.type and read.get("text") == action.get("text")
    return None if same else f"{planner.grammar} writes {text!r}, which is read as {read.to_json()}"


class Lessons:
    """Counts over trajectories."""

    def __init__(self, planner: PlannerConfig, sees: Size | None) -> None:
        self._planner, self._sees = planner, sees
        self._steps = 0
        self._found: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._tasks: Counter[str] = Counter()
        self._goals: set[str] = set()

    def add(self, trajectory: Trajectory) -> None:
        """Count one."""
        before = None
        for index, step in enumerate(trajectory.steps):
            state = state_at(trajectory, index)
            problems = of_step(step.action, step.instruction, state, before, self._planner, self._sees)
            self._steps, before = self._steps + 1, step.action
            for name, problem in problems.items():
                if problem:
                    self._found[name] += 1
                    self._examples.setdefault(name, f"step {index} of {trajectory.id}: {problem}")
        if trajectory.split == "train":
            self._tasks[trajectory.task] += 1
            self._goals.add(trajectory.goal)

    def warnings(self) -> list[str]:
        """What training will not work, each with what to do."""
        told = [
            f"{count} of {self._steps} steps, the first {self._examples[name]}; {FIXES[name]}"
            for name, count in self._found.items()
            if name != "repeats_problem" or count > MAX_REPEATED * self._steps
        ]
        few = [f"{task} ({count})" for task, count in sorted(self._tasks.items()) if count < MIN_EPISODES]
        if few:
            told.append(f"few training episodes: {', '.join(few[:5])}; {FIXES['few_problem']}")
        if self._tasks.total() > 1 and len(self._goals) == 1:
            told.append(f"all {self._tasks.total()} training episodes have the goal {self._goals.pop()!r}; {GOALS}")
        return told

"""AgentDojo's user tasks (MIT), from the package ``agentdojo``: one trajectory a task, without injections.

The steps are the task's own solution, each call observed by running it, and its end is the answer where the task has
one. The data set has no split. Ours keeps a family apart: the tasks of one suite are held out (option ``heldout``). Of
the others, a fifth is for validation and test, by the task's number.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tracer.action import Action
from tracer.sources.boundary import Origin
from tracer.sources.played import played, split_of
from tracer.sources.source import OptionError, Rejected, SourceError
from tracer.tools.agentdojo import SOURCE, SUITES, VERSION, Session, find, suites
from tracer.trajectory import Trajectory

PUBLISHED = {"trajectories": 97}


def read(path: Path, heldout: str = "travel") -> Iterator[Trajectory | Rejected]:
    """The user tasks, in the order of the package.

    Raises ``SourceError`` for any other folder than the package's data, ``OptionError``, and ``ConfigError`` without
    the package, whose tools are called for what is observed.
    """
    if heldout not in SUITES:
        raise OptionError(f"heldout is one of {', '.join(SUITES)}")
    own = find() / "data" / "suites"
    if path.resolve() != own.resolve():
        raise SourceError(f"{path} is not the data of the installed package agentdojo; give {own}")
    for name, suite in suites(VERSION).items():
        for row, task in enumerate(suite.user_tasks, start=1):
            origin = Origin(source=SOURCE, file=name, row=row, id=f"{SOURCE}/{name}/{task}")
            yield origin.read(partial(_trajectory, suite, task, heldout))


def _trajectory(suite: Any, task: str, heldout: str, origin: Origin) -> Trajectory:
    session = Session(suite, task)
    said = session.task.GROUND_TRUTH_OUTPUT
    end = Action.of("answer", text=said) if said else Action.of("terminate", status="success")
    steps = played(session, session.described(), session.gold(), end)
    split, task = split_of(task, suite.name, heldout), f"{SOURCE}-{suite.name}"
    return origin.trajectory(steps, split=split, task=task, goal=session.task.PROMPT, outcome="success")

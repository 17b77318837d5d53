"""BFCL v4 multi-turn (Apache-2.0), from the folder ``data`` of the package ``bfcl-eval``: one trajectory a turn.

A turn is played as the benchmark plays it (tracer/benchmarks/bfcl.py): its goal is what the user says, its steps are
the gold calls, each observed by running it, and it ends. A turn without gold calls, where a function or a parameter is
missing, ends as a failure; one in which the user says nothing cannot be told from others, and is rejected. The data
set has no split. Ours keeps a family apart: the tasks of one of the four APIs that every task has exactly one of are
held out (option ``heldout``). Of the others, a fifth is for validation and test, by the task's number: the four
categories vary the same tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tracer.action import Action
from tracer.json_lines import one
from tracer.sources.boundary import Origin
from tracer.sources.played import played, split_of
from tracer.sources.source import OptionError, Refused, Rejected, SourceError
from tracer.tools.bfcl import CATEGORIES, FAMILIES, SOURCE, Session, family_of, tasks
from tracer.trajectory import Step, Trajectory

PUBLISHED = {"tasks": 800}


def read(
    path: Path, heldout: str = "TravelAPI", categories: str = ",".join(CATEGORIES)
) -> Iterator[Trajectory | Rejected]:
    """The turns of all tasks, in the order of the files; ``categories`` are separated by commas.

    Raises ``SourceError`` for a folder without the tasks, ``OptionError``, and ``ConfigError`` without the package,
    whose functions are called for what is observed.
    """
    chosen = categories.split(",")
    if heldout not in FAMILIES or not set(chosen) <= set(CATEGORIES):
        raise OptionError(f"heldout is one of {', '.join(FAMILIES)}; categories are of {', '.join(CATEGORIES)}")
    if not (path / "possible_answer").is_dir():
        raise SourceError(f"{path} contains no BFCL tasks; `make items` lays them into build/bench/bfcl_eval/data")
    seen: dict[tuple[str, str], str] = {}
    for row, (task, gold) in enumerate(tasks(path), start=1):
        category = task["id"].removeprefix("multi_turn_").rpartition("_")[0]
        if category in chosen:
            origin = Origin(source=SOURCE, file=category, row=row, raw=partial(one, task), id=f"{SOURCE}/{task['id']}")
            turns = origin.attempt(partial(_turns, task, gold, heldout))
            if isinstance(turns, Rejected):
                yield turns
                continue
            for turn in turns:
                origin.id, origin.steps = turn.id, len(turn.steps)
                yield origin.read(partial(_apart, turn, seen))


def _turns(task: Mapping[str, Any], gold: Sequence[Sequence[str]], heldout: str, _: Origin) -> list[Trajectory]:
    session = Session(task)
    family = family_of(task)
    if family is None or len(gold) != len(task["question"]):
        raise Refused("wrong field", f"{task['id']} has no family, or not a gold turn for each", "fetch the data again")
    return [
        Trajectory(
            id=f"{SOURCE}/{task['id']}/{index}",
            source=SOURCE,
            split=split_of(task["id"], family, heldout),
            task=f"{SOURCE}-{family}",
            goal="\n".join(message["content"] for message in turn),
            steps=_steps(session, index, calls),
            outcome="success",
        )
        for index, (turn, calls) in enumerate(zip(task["question"], gold, strict=True))
    ]


def _steps(session: Session, turn: int, calls: Sequence[str]) -> tuple[Step, ...]:
    """The calls of a turn, run in the session, and the end."""
    actions = map(session.action, calls)
    named = ((action.get("name"), action.tool_arguments) for action in actions)
    end = Action.of("terminate", status="success" if calls else "failure")
    return played(session, session.described(turn), named, end)


def _apart(turn: Trajectory, seen: dict[tuple[str, str], str], _: Origin) -> Trajectory:
    """The turn, unless another split begins with the same state; raises ``Refused``."""
    # Without a goal it is refused anyway, for that.
    first = seen.setdefault((turn.goal, turn.steps[0].observation), turn.split) if turn.goal else turn.split
    if first != turn.split:
        raise Refused("shared state", f"the split {first} has a turn that begins alike", "nothing to fix")
    return turn

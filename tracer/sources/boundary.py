"""The boundary between an adapter and the shards: one bad record costs one record, whatever is wrong with it.

An adapter reads each of its records through ``Origin.read``. What the record makes it raise becomes a row of the
quarantine, and so does a trajectory that shards cannot hold, or that would fail validation for the whole data set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tracer.action import COORDINATES, GRAMMAR
from tracer.sources.source import MAX_SIDE, Refused, Rejected, SourceError
from tracer.trajectory import OUTCOMES, SPLITS, TOLERANCE, Box, Step, Trajectory, inside

log = logging.getLogger(__name__)
Read = TypeVar("Read")

MAX_STEPS = 2_000
"""Of one record: ten times the longest that is published. It bounds the work that a small record can ask for."""
MAX_BYTES = 2**30
"""Of the pictures and observations of one record, each counted at every step that shows it."""
DETAIL_CHARACTERS, RAW_CHARACTERS = 2_000, 65_536
"""Of a rejected record that the quarantine keeps."""
FIX = "correct the record, or leave it out"
DEFECT = "defect of the adapter"

# What foreign data makes Python itself raise.
RAISED: dict[type[Exception], str] = {
    UnicodeError: "invalid UTF-8",
    RecursionError: "nested too deeply",
    OverflowError: "number too large",
    MemoryError: "record too large",
}


@dataclass(slots=True, kw_only=True)
class Origin:
    """Where a record comes from, for the quarantine. ``id`` and ``steps`` are set once they are known."""

    source: str
    file: str
    row: int | Callable[[], int]
    """From 1; a function where counting costs time."""
    raw: Callable[[], str | bytes] = str
    id: str = ""
    steps: int = 0
    """How many are lost if it is rejected."""

    def read(self, make: Callable[[Origin], Trajectory]) -> Trajectory | Rejected:
        """The trajectory that ``make`` reads, if shards can hold it, else the rejected record with its reason."""

        def checked(origin: Origin) -> Trajectory:
            found = make(origin)
            check(found)
            return found

        return self.attempt(checked)

    def trajectory(
        self, steps: Iterable[Step], *, split: str, task: str, goal: str, outcome: str = "unknown"
    ) -> Trajectory:
        """The trajectory that the record is, whose id and source it has."""
        return Trajectory(
            id=self.id, source=self.source, split=split, task=task, goal=goal, steps=tuple(steps), outcome=outcome
        )

    def attempt(self, make: Callable[[Origin], Read], *, report: bool = True) -> Read | Rejected:
        """What ``make`` reads, or the rejected record: every error of a record goes through here.

        One that no adapter foresaw is a defect of ours: counted, with its traceback in the log (unless another attempt
        will ``report`` it). ``SourceError`` and ``OSError`` pass: they are about a file, not a record.
        """
        try:
            return make(self)
        except (SourceError, OSError):
            raise
        except Exception as error:
            return self.rejected(error, report=report)

    def rejected(self, error: Exception, *, report: bool = True) -> Rejected:
        """The record, rejected for an error."""
        row = self.row if isinstance(self.row, int) else self.row()
        refused = self._refused(error, row, report)
        raw = self.raw()[: 4 * RAW_CHARACTERS]  # cut before decoding, too: a character has at most four bytes
        text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
        return Rejected(
            source=self.source, file=self.file, row=row, id=self.id, raw=text[:RAW_CHARACTERS], steps=self.steps,
            reason=refused.reason, detail=refused.detail[:DETAIL_CHARACTERS], fix=refused.fix,
        )  # fmt: skip

    def _refused(self, error: Exception, row: int, report: bool) -> Refused:
        if isinstance(error, Refused):
            return error
        reason = next((reason for kind, reason in RAISED.items() if isinstance(error, kind)), None)
        if isinstance(error, ValueError) and "integer string conversion" in str(error):  # of over 4300 digits
            reason = RAISED[OverflowError]
        if reason is not None:
            return Refused(reason, str(error)[:200], FIX)
        if report:
            log.error("%s, row %d: a defect of the adapter %s", self.file, row, self.source, exc_info=error)
        detail = f"{type(error).__name__}: {str(error)[:200]}"
        return Refused(DEFECT, detail, "report it, with the traceback in the log")


def check(trajectory: Trajectory) -> None:
    """Raise ``Refused`` for a trajectory that shards cannot hold, or that the suite of validation would refuse."""
    steps = trajectory.steps
    if not steps:
        raise Refused("no actions", "no step is left", "nothing to fix")
    if len(steps) > MAX_STEPS:
        raise too_many_steps(len(steps))
    size = sum(len(step.image or b"") + len(step.observation) for step in steps)
    if size > MAX_BYTES:
        raise Refused("record too large", f"{size} bytes of pictures and observations, over {MAX_BYTES}", FIX)
    if trajectory.split not in SPLITS or trajectory.outcome not in OUTCOMES:
        raise Refused("wrong field", f"split {trajectory.split!r:.40}, outcome {trajectory.outcome!r:.40}", FIX)
    for name in ("id", "source", "task", "goal"):
        _check_text(getattr(trajectory, name), name, needed=True)
    for index, step in enumerate(steps):
        try:
            check_step(step)
        except Refused as error:
            raise Refused(error.reason, f"step {index}: {error.detail}", error.fix) from error


def too_many_steps(count: int) -> Refused:
    """The refusal of a record that is too long."""
    return Refused("too many steps", f"{count}, over {MAX_STEPS}", "divide the record, or leave it out")


def check_step(step: Step) -> None:
    """Raise ``Refused`` for a step that shards cannot hold, or that validation would refuse."""
    _check_text(step.instruction, "the instruction", needed=True)
    _check_text(step.observation, "the observation")
    for name, value in step.action.arguments:
        if isinstance(value, str):
            _check_text(value, f"the action's {name}")
        elif name in COORDINATES and not 0 <= value <= 1:
            raise Refused("coordinate off the screen", f"{name} is {value}", FIX)
    for size in (step.width, step.height):
        if type(size) is not int or not 0 <= size <= MAX_SIDE:
            raise Refused("wrong field", f"a picture's side of {str(size)[:40]} pixels", FIX)
    if step.target is not None:
        _check_box(step.target)
        point = step.action.point if GRAMMAR[step.action.type][0] == ("x", "y") else None
        left, top, right, bottom = step.target
        if point and not inside(point, (left - TOLERANCE, top - TOLERANCE, right + TOLERANCE, bottom + TOLERANCE)):
            raise Refused("point outside its target", f"{point} is not in {step.target}", FIX)
    if step.elements:
        parts = [part for each in step.elements for part in (each.role, each.text, each.value, each.state)]
        _check_text("".join(parts), "an element")
        for element in step.elements:
            _check_box(element.box)


def _check_text(text: str, name: str, needed: bool = False) -> None:
    if not isinstance(text, str):
        raise Refused("wrong field", f"{name} is {str(text)[:40]!r}, not a text", FIX)
    if needed and not text.strip():
        raise Refused("empty field", f"{name} is empty", FIX)
    if not text.isascii():
        text.encode()


def _check_box(box: Box) -> None:
    if len(box) != 4 or not (0 <= box[0] <= box[2] <= 1 and 0 <= box[1] <= box[3] <= 1):
        raise Refused("broken box", f"{list(box)} is not (left, top, right, bottom) in fractions", FIX)


def check_numbers(found: Sequence[object]) -> None:
    """Raise ``Refused`` unless the steps of a record are numbered 0, 1, 2, ..."""
    if list(found) != list(range(len(found))):
        detail = f"the steps are numbered {', '.join(map(str, found[:20]))[:80]}, not 0, 1, 2, ..."
        raise Refused("wrong field", detail, "a step is missing, doubled or moved: fetch the record again")

"""Scripts, which demonstrate in place of a person: one step a line, as small planners write them."""

from __future__ import annotations

from pathlib import Path

from tracer.environments.acting import UnsupportedAction
from tracer.environments.demonstration import Drive, act, named, until
from tracer.environments.recorder import Recorder
from tracer.forecast import ForecastError
from tracer.grammars.grammar import grammar
from tracer.grammars.pointing import TARGETED
from tracer.settings import ConfigError
from tracer.trajectory import Element, State, Step

LINES = {
    "click": 'click button "Send"',
    "double_click": 'double_click span "Report"',
    "right_click": 'right_click a "Inbox"',
    "move": 'move button "More"',
    "type": 'type "some text"',
    "select": 'select "Dark blue"',
    "key": "key Enter",
    "scroll": "scroll up",
    "navigate_back": "navigate_back",
    "wait": "wait 2",
}
"""The actions of a script, each with a line."""


class ScriptFailed(RuntimeError):
    """A line of a script that cannot be done; the message names it and what is on the screen. Nothing is kept."""


def script(path: Path) -> Drive:
    """What plays a file of lines such as ``click button "Send"`` (``LINES``); # begins a comment.

    Raises ``ConfigError`` for a line that no page could have.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    numbered = [(f"{path}, line {n}", line) for n, line in enumerate(lines, start=1) if line and line[0] != "#"]
    for where, line in numbered:
        kind = line.split(" ")[0]
        if kind not in LINES:
            raise ConfigError(f"{where}: no action {kind!r}; write one of: {', '.join(LINES.values())}")
        if kind not in TARGETED:
            try:
                grammar("pointing").step(line, State(goal=""))
            except ForecastError as error:
                raise ConfigError(f"{where}: {line!r} should look like {LINES[kind]!r}: {error}") from error

    async def drive(recorder: Recorder) -> None:
        for where, line in numbered:
            await _play(recorder, line, where)

    return drive


async def _play(recorder: Recorder, line: str, where: str) -> None:
    def wanted(elements: tuple[Element, ...]) -> Step | str:
        problem = "is not on the screen"
        try:
            step = grammar("pointing").step(line, State(goal="", elements=elements))
            if step.action.type not in TARGETED or step.action.point is not None:
                return Step(action=step.action, instruction=step.instruction)
        except ForecastError as error:
            problem = f"names nothing on the screen ({error})"
        shown = ", ".join(map(named, elements))
        return f"{where}: {line!r} {problem}, which shows: {shown}"

    found = await until(recorder, wanted)
    if isinstance(found, str):
        raise ScriptFailed(found)
    try:
        await act(recorder, found)
    except UnsupportedAction as error:
        raise ScriptFailed(f"{where}: {line!r}: {error}") from error

"""AgentTrek (xlangai/AgentTrek): web trajectories as text. Off by default, because it has no screenshot.

    <path>/agenttrek_1207.json      a JSON array; an element is one step, {"messages": [{"role", "content"}, ...]}

A step's state is BrowserGym's accessibility tree, and its target a node of it; there are no pictures, coordinates or
boxes, and none are made up: actions on nodes stay calls (``tool_call``), the tree is the step's observation. Steps
are not grouped. Rule *growing history*: a step continues the first trajectory of the same goal whose actions so far
are exactly the history that the step shows.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from tracer.action import Action, ActionError
from tracer.instruction import describe
from tracer.sources import calls, large_json
from tracer.sources.actions import BROWSER_CALLS, BROWSERGYM, broken
from tracer.sources.boundary import Origin
from tracer.sources.source import Refused, Rejected, SourceError, turn
from tracer.trajectory import Step, Trajectory

NAME = "agenttrek"
FILE = "agenttrek_1207.json"
PUBLISHED = {"trajectories": 10_398}
HEADING = re.compile(r"^#{1,4} +(?=\S)(.*)$", re.MULTILINE)
OPEN, CLOSE = "<action>", "</action>"
MAX_CALLS = 100
"""Of one step; each is looked up in its tree."""
FIX = "correct the element, or leave it out"


class Moment(NamedTuple):
    """One element of the array, read."""

    goal: str
    tree: str
    history: tuple[str, ...]
    code: str


def parts(path: Path) -> list[str]:
    """One part: any two steps of the file can belong together."""
    if not (path / FILE).is_file():
        raise SourceError(f"{path} contains no {FILE}; fetch the data set there")
    return [FILE]


def read(path: Path, part: str | None = None, text_only: bool = False) -> Iterator[Trajectory | Rejected]:
    """The trajectories, as text. Raises ``SourceError`` unless ``text_only`` says that this is understood."""
    if not text_only:
        raise SourceError(
            "AgentTrek is published without screenshots and cannot train a planner that sees; "
            "set text_only=true to read it as text"
        )
    file = path / (part or parts(path)[0])
    trajectory_of, lengths = _grouped(file)
    pending: dict[int, list[bytes]] = {}
    for row, element in enumerate(large_json.array(file), 1):
        origin = Origin(source=NAME, file=file.name, row=row, raw=element.encoded, id=f"{NAME}/row-{row}")
        found = origin.attempt(partial(_placed, element, row, trajectory_of))
        if isinstance(found, Rejected):
            yield found
            continue
        first = trajectory_of[row]
        # Steps of one trajectory may lie far apart; trees are repetitive, and small when packed.
        pending.setdefault(first, []).append(zlib.compress(orjson.dumps(tuple(found)), 1))
        if len(pending[first]) == lengths[first]:
            moments = [Moment(*orjson.loads(zlib.decompress(data))) for data in pending.pop(first)]
            yield origin.read(partial(_trajectory, first, moments))


def _placed(element: large_json.Element, row: int, trajectory_of: dict[int, int], origin: Origin) -> Moment:
    moment = _moment(element, origin)
    if row not in trajectory_of:
        detail = f"no step of the goal {moment.goal[:80]!r} has its {len(moment.history)} past actions"
        raise Refused("missing history", detail, "it is published so: an earlier step is missing")
    return moment


@lru_cache(maxsize=1)
def _grouped(file: Path) -> tuple[dict[int, int], dict[int, int]]:
    """The first row of each row's trajectory, and each trajectory's length, by its first row."""
    found: list[tuple[int, int, bytes, bytes]] = []
    for row, element in enumerate(large_json.array(file), 1):
        origin = Origin(source=NAME, file=file.name, row=row)
        moment = origin.attempt(partial(_moment, element), report=False)
        if isinstance(moment, Rejected):
            continue  # ``read`` reports it
        before = _digest(moment.goal, moment.history)
        found.append((len(moment.history), row, before, _digest(moment.goal, (*moment.history, moment.code))))
    waiting: dict[bytes, list[int]] = {}
    trajectory_of: dict[int, int] = {}
    lengths: dict[int, int] = {}
    for length, row, before, after in sorted(found):
        earlier = waiting.get(before)
        if length and not earlier:
            continue
        first = earlier.pop(0) if length and earlier else row
        trajectory_of[row] = first
        lengths[first] = lengths.get(first, 0) + 1
        waiting.setdefault(after, []).append(first)
    return trajectory_of, lengths


def _digest(goal: str, actions_so_far: tuple[str, ...]) -> bytes:
    return hashlib.blake2b("\0".join([goal, *actions_so_far]).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _moment(element: large_json.Element, _: Origin) -> Moment:
    """The step of an element, its code and texts checked; raises ``Refused``."""
    record = element.record()
    messages = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(messages, list):
        raise Refused("wrong field", f"no list of messages: {str(record)[:80]!r}", FIX)
    texts = dict(turn(message, FIX) for message in messages)
    if len(texts) < len(messages):
        raise Refused("wrong field", f"{len(messages)} messages of {', '.join(texts)}, not one of each", FIX)
    found = _marked(texts.get("assistant", ""))
    if not found:
        raise Refused("no actions", "the answer contains no <action>", FIX)
    sections = list(_sections(texts.get("user", "")))
    goal = next((text for name, text in sections if name == "Goal"), "")
    tree = next((text for name, text in sections if name == "AXTree"), "")
    if not goal.strip() or not tree:
        raise Refused("wrong field", f"the question has no {'AXTree' if goal.strip() else 'Goal'}", FIX)
    moment = Moment(goal, tree, tuple(_history(sections)), _code(found[-1]))
    for text in (moment.goal, moment.tree, moment.code, *moment.history):
        text.encode()  # a step that cannot be written must not be part of a trajectory
    if len(actions(moment.code)) > MAX_CALLS:
        raise Refused("too many calls", f"{len(actions(moment.code))}, over {MAX_CALLS}", FIX)
    return moment


def _sections(text: str) -> Iterator[tuple[str, str]]:
    headings = [*HEADING.finditer(text)]
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    for heading, end in zip(headings, ends, strict=False):
        yield heading[1].rstrip(" ").removesuffix(":"), text[heading.end() : end].strip("\n")


def _history(sections: list[tuple[str, str]]) -> list[str]:
    """The past actions: below headings ``Action``, or where there are none, marked as the answer's is."""
    headed = [_code(text) for name, text in sections if name == "Action"]
    start = next((at for at, (name, _) in enumerate(sections) if name.startswith("History")), len(sections))
    return headed or [_code(each) for _, text in sections[start:] for each in _marked(text)]


def _marked(text: str) -> list[str]:
    """What stands between ``<action>`` and ``</action>``."""
    pieces = (piece.partition(OPEN) for piece in text.split(CLOSE)[:-1])
    return [marked for _, mark, marked in pieces if mark]


def _code(text: str) -> str:
    """The code of an action, without marks, and without the HTML comments that some answers put behind it."""
    text = _uncommented(text.replace(OPEN, "").replace(CLOSE, "").strip())
    return "\n".join(map(_uncommented, text.split("\n"))).strip()


def _uncommented(text: str) -> str:
    # No line of code ends like a comment, though a text inside one may look like it.
    return text[: text.rfind("<!--")].rstrip() if text.endswith("-->") and "<!--" in text else text


def _trajectory(first: int, moments: list[Moment], origin: Origin) -> Trajectory:
    origin.id, origin.steps, steps = f"{NAME}/row-{first}", len(moments), []
    for moment in sorted(moments, key=lambda moment: len(moment.history)):
        for action in actions(moment.code):
            steps.append(Step(action=action, instruction=words(action, moment.tree), observation=moment.tree))
    outcome = "failure" if steps[-1].action.type == "terminate" else "unknown"
    return origin.trajectory(steps, split="train", task=NAME, goal=moments[0].goal.strip(), outcome=outcome)


@lru_cache(maxsize=16_384)
def actions(code: str) -> tuple[Action, ...]:
    """The actions of BrowserGym calls; raises ``Refused``."""
    return tuple(map(_action, calls.calls(code)))


def _action(call: calls.Call) -> Action:
    if call.name == "report_infeasible":
        return BROWSERGYM.canonical(call.name, {})  # the reason has no place in ours
    if call.name == "noop" and not (call.positional or call.named):
        return BROWSERGYM.canonical(call.name, {})
    if call.name in ("keyboard_press", "keyboard_type", "send_msg_to_user"):
        return BROWSERGYM.canonical(call.name, call.bound(("key" if call.name == "keyboard_press" else "text",)))
    if call.name not in (*BROWSER_CALLS, "noop"):
        raise Refused("unknown action", f"{call.name[:80]!r} is not a call of BrowserGym", FIX)
    arguments = call.bound(BROWSER_CALLS.get(call.name, ("wait_ms",)))
    try:
        across = arguments.get("delta_x")
        if call.name == "scroll" and not isinstance(across, bool) and across in (0, 0.0):
            return _scroll(arguments.get("delta_y"))
        return Action.of("tool_call", name=call.name, arguments=arguments)
    except ActionError as error:
        raise broken(call.name, error) from error


def _scroll(delta: Any) -> Action:
    """A wheel turned down shows what is below, for which a finger moves up."""
    if isinstance(delta, bool) or not isinstance(delta, int | float) or delta == 0:
        raise Refused("broken action", f"scroll by {str(delta)[:40]!r}", FIX)
    return Action.of("scroll", direction="up" if delta > 0 else "down", amount=abs(delta))


def words(action: Action, tree: str) -> str:
    """A step instruction: the call, and the role and name of the node that it names, as the tree gives them."""
    given = action.tool_arguments if action.type == "tool_call" else {}
    node = re.search(rf"^[ \t]*\[{re.escape(str(given.get('bid')))}\] (\S+) (['\"])(.*?)\2", tree, re.MULTILINE)
    if not node:
        return describe(action)
    rest = [str(value) for name, value in given.items() if name not in ("bid", "button", "modifiers")]
    return f'{action.get("name")} {", ".join(map(_quoted, rest))}{" in " if rest else ""}the {node[1]} "{node[3]}"'


def _quoted(text: str) -> str:
    return f'"{text}"'

"""MM-Traj (PengxiangLi/MAT, the T3-Agent's training data): tool use by a code agent, as conversations.

    <path>/*.json       JSON arrays of {id, image, system-prompt, answer, conversations}
    <path>/files.zip    the pictures and attachments (elsewhere data.zip), or unpacked into <path>

A step is one assistant turn: its thought is the step instruction, its code block the action, the user turn before it
what the tools returned. The code is parsed, never run. A block that does nothing but call one tool with values
written out is that call; one that calls ``final_answer`` alone is an answer; every other block, Python around tools,
is a ``tool_call`` of ``python`` with the code as it is and the names of the tools in their order. A conversation
whose last turn was cut off, without ``final_answer``, has an unknown outcome.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tracer.action import Action, ActionError
from tracer.instruction import describe
from tracer.sources import calls, large_json
from tracer.sources.boundary import MAX_STEPS, Origin, too_many_steps
from tracer.sources.source import Refused, Rejected, SourceError, turn
from tracer.sources.store import Store, archives, store
from tracer.trajectory import Step, Trajectory

NAME = "mm_traj"
PUBLISHED = {"trajectories": 20_000}
TOOLS: dict[str, tuple[str, ...]] = {
    "visualizer": ("question", "image_path"),
    "facedetection": ("image_path",),
    "objectlocation": ("object", "image_path"),
    "inspect_file_as_text": ("file_path", "question"),
    "image_generator": ("prompt",),
    "segmentation": ("image_path", "prompt"),
    "image_edit": ("prompt", "image_path"),
    "ask_search_agent": ("query",),
    "ocr": ("image_path",),
    "final_answer": ("answer",),
}
ARCHIVES = ("files.zip", "data.zip")
CODE = re.compile(r"\*{0,2}\bCode\*{0,2}:\*{0,2}\s*```(?:py|python)?[ \t]*\n")
THOUGHT = re.compile(r"\s*\*{0,2}Thought\*{0,2}:\*{0,2}")
OUTPUT = re.compile(r"\s*(?:\[OUTPUT OF STEP (\d{1,9})\]\s*(?:->\s*)?)?(?:Observation:)?")
PLACEHOLDER = re.compile(r"<image(?:_\d+)?>\n?")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FIX = "correct the record, or leave it out"


def parts(path: Path) -> list[str]:
    """The JSON files' names."""
    names = sorted(file.name for file in path.glob("*.json") if file.is_file() and not file.name.startswith("._"))
    if not names:
        raise SourceError(f"{path} contains no .json file; fetch the data set there")
    return names


def read(path: Path, part: str | None = None, images: bool = True) -> Iterator[Trajectory | Rejected]:
    """The conversations of one file or all. ``images`` false leaves the pictures out."""
    found = tuple(group for name in ARCHIVES for group in archives(path, name))
    files = store(path, found, f"the folder, {', '.join(ARCHIVES)}") if images else None
    for name in parts(path) if part is None else [part]:
        seen: set[str] = set()
        for row, element in enumerate(large_json.array(path / name), 1):
            origin = Origin(source=NAME, file=name, row=row, raw=element.encoded)
            yield origin.read(partial(_trajectory, element, name.removesuffix(".json"), files, seen))


def _trajectory(
    element: large_json.Element, task: str, files: Store | None, seen: set[str], origin: Origin
) -> Trajectory:
    record = element.record()
    if not isinstance(record, dict) or type(record.get("id")) not in (str, int) or not _turns(record):
        raise Refused("wrong field", "no id, or no list of conversations", FIX)
    origin.id = f"{NAME}/{task}/{record['id']}"
    turns = [turn(each, FIX) for each in _turns(record)]
    turns = turns[1:] if turns[0][0] == "system" else turns
    roles = [role for role, _ in turns]
    if len(turns) < 2 or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2):
        raise Refused("wrong field", f"the turns are {', '.join(roles[:9])[:80]}, not user, assistant, ...", FIX)
    origin.steps = len(turns) // 2
    if origin.steps > MAX_STEPS:
        raise too_many_steps(origin.steps)
    calls.check_total(text for _, text in turns[1::2])
    observations = ["", *_observations([text for _, text in turns[2::2]])]
    shown = _screen(record.get("image"), files)
    steps = [_step(*each, shown) for each in zip((text for _, text in turns[1::2]), observations, strict=False)]
    if origin.id in seen:
        raise Refused("duplicate id", f"{origin.id!r} was read before", "give every record an own id")
    seen.add(origin.id)
    outcome = "success" if "final_answer" in _tools(steps[-1].action) else "unknown"
    goal = PLACEHOLDER.sub("", turns[0][1]).strip()
    return origin.trajectory(steps, split="train", task=task, goal=goal, outcome=outcome)


def _turns(record: dict[str, Any]) -> list[Any]:
    found = record.get("conversations")
    return found if isinstance(found, list) else []


def _observations(texts: list[str]) -> Iterator[str]:
    """What the tools returned, without its heading; raises ``Refused`` for outputs whose numbers leave a step out."""
    first: int | None = None
    for index, text in enumerate(texts):
        heading = OUTPUT.match(text)
        if heading and heading[1]:
            number = int(heading[1]) - index
            first = number if first is None else first
            if number != first:
                raise Refused("wrong field", f"the output of step {heading[1]} is in a wrong place", FIX)
        yield text[heading.end() if heading else 0 :].strip()


def _screen(named: Any, files: Store | None) -> dict[str, Any]:
    """The first picture of a string, an object of placeholders, {} or nothing; other attachments stay in the goal."""
    by_token = {"<image>": named} if isinstance(named, str) else named or {}
    if not isinstance(by_token, dict) or not all(isinstance(path, str) for path in by_token.values()):
        raise Refused("wrong field", f"image is {str(named)[:80]!r}", FIX)
    paths = [by_token[token] for token in sorted(by_token)]
    pictures = [path for path in paths if path.lower().endswith(PICTURES)]
    if files is None or not pictures:
        return {}
    return files.screen(pictures[0])


def _step(answer: str, before: str, shown: dict[str, Any]) -> Step:
    fence = CODE.search(answer)
    end = answer.find("```", fence.end()) if fence else -1
    if fence is None or end < 0:
        raise Refused("code is not a call", f"no code block in the turn {answer[:80]!r}", FIX)
    thought = answer[: fence.start()]
    heading = THOUGHT.match(thought)
    words = thought[heading.end() if heading else 0 :].strip()
    action = action_of(answer[fence.end() : end].strip())
    return Step(action=action, instruction=words or describe(action), observation=before, **shown)


def action_of(code: str) -> Action:
    """The action of a code block; raises ``Refused`` for what is not valid Python."""
    tree = calls.parse(code)
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and calls.dotted(node.func) in TOOLS]
    if not tree.body:
        raise Refused("code is not a call", "the block is empty", FIX)
    plain = _plain_call(tree) if len(named) == 1 else None
    try:
        if plain is not None and plain[0] == "final_answer" and plain[1].keys() == {"answer"}:
            value = plain[1]["answer"]
            return Action.of("answer", text=value if isinstance(value, str) else repr(value))
        if plain is not None:
            return Action.of("tool_call", name=plain[0], arguments=plain[1])
    except ActionError:
        pass  # an argument that JSON cannot hold, such as a set: the code says it
    order = sorted(named, key=lambda node: (node.lineno, node.col_offset))
    tools = [str(calls.dotted(node.func)) for node in order]
    return Action.of("tool_call", name="python", arguments={"code": code, "tools": tools})


def _tools(action: Action) -> list[str]:
    if action.type == "answer":
        return ["final_answer"]
    return action.tool_arguments["tools"] if action.get("name") == "python" else [action.get("name")]


def _plain_call(tree: ast.Module) -> tuple[str, dict[str, Any]] | None:
    """The tool and its arguments, where nothing else happens: values are named, the tool is called, names printed."""
    values: dict[str, ast.expr] = {}
    found: tuple[str, dict[str, Any]] | None = None
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.Expr):
            return None
        value: ast.expr = statement.value
        if isinstance(statement, ast.Expr) and isinstance(value, ast.Call) and calls.dotted(value.func) == "print":
            if value.keywords:
                return None
            if all(isinstance(each, ast.Name | ast.Constant) for each in value.args):
                continue
            if len(value.args) > 1:
                return None
            value = value.args[0]
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if not all(isinstance(each, ast.Name) for each in targets):
            return None  # a[f()] = tool() calls f, too
        target = targets[0] if len(targets) == 1 else None
        if isinstance(value, ast.Constant) and isinstance(target, ast.Name) and found is None:
            values[target.id] = value
        elif isinstance(value, ast.Call) and found is None:
            found = _arguments(value, values)
            if found is None:
                return None
        else:
            return None
    return found


def _arguments(call: ast.Call, values: dict[str, ast.expr]) -> tuple[str, dict[str, Any]] | None:
    name = calls.dotted(call.func)
    if name is None or name not in TOOLS:
        return None
    written = ast.Call(
        func=call.func,
        args=[_resolved(each, values) for each in call.args],
        keywords=[ast.keyword(each.arg, _resolved(each.value, values)) for each in call.keywords],
    )
    try:
        return name, calls.read(written).bound(TOOLS[name])
    except Refused:
        return None  # its values are computed: the block stays code


def _resolved(node: ast.expr, values: dict[str, ast.expr]) -> ast.expr:
    return values.get(node.id, node) if isinstance(node, ast.Name) else node

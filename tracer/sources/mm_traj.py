"""MM-Traj (PengxiangLi/MAT, the T3-Agent's training data): tool use by a code agent, as conversations.

    <path>/*.json       JSON arrays of {id, image, system-prompt, answer, conversations}
    <path>/files.zip    the pictures and attachments, or unpacked into <path>

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
from pathlib import Path
from typing import Any

import orjson

from tracer.action import Action, ActionError
from tracer.sources import calls, large_json
from tracer.sources.source import Refused, Rejected, SourceError, screen, turn
from tracer.sources.store import Store, store
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
TURN = re.compile(r"(?:Thought:)?(.*?)\bCode:\s*```(?:py|python)?[ \t]*\n(.*?)```", re.DOTALL)
PLACEHOLDER = re.compile(r"<image(?:_\d+)?>\n?")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
FIX = "correct the record, or leave it out"


def parts(path: Path) -> list[str]:
    """The JSON files' names."""
    names = sorted(file.name for file in path.glob("*.json"))
    if not names:
        raise SourceError(f"{path} contains no .json file; fetch the data set there")
    return names


def read(path: Path, part: str | None = None, images: bool = True) -> Iterator[Trajectory | Rejected]:
    """The conversations of one file or all. ``images`` false leaves the pictures out."""
    archive = path / "files.zip"
    files = store(path, (archive,) if archive.is_file() else ()) if images else None
    for name in parts(path) if part is None else [part]:
        seen: set[str] = set()
        stem = name.removesuffix(".json")
        for row, record in enumerate(large_json.array(path / name), 1):
            id = f"{NAME}/{stem}/{record['id']}" if isinstance(record, dict) and "id" in record else ""
            try:
                trajectory = _trajectory(record, id, stem, files)
                if id in seen:
                    raise Refused("duplicate id", f"{id!r} was read before", "give every record an own id")
            except Refused as error:
                raw = orjson.dumps(record, default=str)
                yield Rejected.of(error, source=NAME, file=name, row=row, id=id, raw=raw)
            else:
                seen.add(id)
                yield trajectory


def _trajectory(record: Any, id: str, task: str, files: Store | None) -> Trajectory:
    if not id or not isinstance(record.get("conversations"), list):
        raise Refused("wrong field", "no id, or no list of conversations", FIX)
    turns = [turn(each, FIX) for each in record["conversations"]]
    turns = turns[1:] if turns and turns[0][0] == "system" else turns
    roles = [role for role, _ in turns]
    if len(turns) < 2 or roles != ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2):
        raise Refused("wrong field", f"the turns are {', '.join(roles)[:80]}, not user, assistant, ...", FIX)
    shown = _screen(record.get("image"), files)
    steps = [
        _step(answer, turns[index - 1][1] if index > 1 else "", shown)
        for index, (role, answer) in enumerate(turns)
        if role == "assistant"
    ]
    finished = "final_answer" in _tools(steps[-1].action)
    return Trajectory(
        id=id,
        source=NAME,
        split="train",
        task=task,
        goal=PLACEHOLDER.sub("", turns[0][1]).strip(),
        steps=tuple(steps),
        outcome="success" if finished else "unknown",
    )


def _screen(named: Any, files: Store | None) -> dict[str, Any]:
    """The first picture of a string, an object of placeholders, {} or nothing; other attachments stay in the goal."""
    by_token = {"<image>": named} if isinstance(named, str) else named or {}
    if not isinstance(by_token, dict) or not all(isinstance(path, str) for path in by_token.values()):
        raise Refused("wrong field", f"image is {str(named)[:80]!r}", FIX)
    paths = [by_token[token] for token in sorted(by_token)]
    pictures = [path for path in paths if path.lower().endswith(PICTURES)]
    if files is None or not pictures:
        return {}
    return screen(files.get(pictures[0]), pictures[0])


def _step(answer: str, before: str, shown: dict[str, Any]) -> Step:
    found = TURN.search(answer)
    if not found:
        raise Refused("code is not a call", f"no code block in the turn {answer[:80]!r}", FIX)
    observation = before.strip().removeprefix("Observation:").strip()
    return Step(action=action_of(found[2].strip()), instruction=found[1].strip(), observation=observation, **shown)


def action_of(code: str) -> Action:
    """The action of a code block; raises ``Refused`` for what is not valid Python."""
    tree = calls.parse(code)
    named = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and calls.dotted(node.func) in TOOLS]
    if not tree.body:
        raise Refused("code is not a call", "the block is empty", FIX)
    plain = _plain_call(tree) if len(named) == 1 else None
    try:
        if plain is not None and plain[0] == "final_answer":
            value = plain[1].get("answer")
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
            value = value.args[0]
        target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
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

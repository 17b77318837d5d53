"""Traces as Cua's trajectory folders: an episode a folder that https://cua.ai/trajectory-viewer opens.

The layout is that of Cua's ``TrajectorySaverCallback``, and the pictures are named as its viewer looks for them (in
trycua/cua, commit b296ec9: ``callbacks/trajectory_saver.py`` and the playground's ``TrajectoryViewer/index.tsx``).
``metadata.json`` says what was asked for and how it ended. ``turn_000`` has the first screen. Then each turn is two
folders: what the agent answered, with its forecast drawn on the screen, and what came of it, with the next screen. The
viewer shows one picture a folder and points at an action's pixel in it, so all of them have the size of the drawings.
Actions are those of the Responses API; one that this has not keeps its own name.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.environments.acting import SCROLL
from tracer.json_files import write_json
from tracer.reporting.overlay import drawn, paint
from tracer.reporting.traced import Row, about, expected, name, state

BUTTONS = {"click": "left", "right_click": "right", "middle_click": "wheel"}
WHEEL = {"up": (0, 1), "down": (0, -1), "left": (1, 0), "right": (-1, 0)}
"""Which way the wheel turns for the finger's direction: positive brings what lies below, or on the right."""


def write(folder: Path, rows: Sequence[Row], out: Path) -> None:
    """Write a trajectory folder for each of a folder's traced episodes."""
    for row in rows:
        _Trajectory(folder, row, out / name(folder, row)).write()


class _Trajectory:
    """The files of one trajectory, whose names are numbered through."""

    def __init__(self, folder: Path, row: Row, out: Path) -> None:
        self.folder, self.row, self.out = folder, row, out
        self.model = folder.name
        self.items: list[dict[str, Any]] = []
        self.number = 0

    def write(self) -> None:
        turns = self.row["turns"]
        self.out.mkdir()
        if turns:
            self._screen(0, turns[0])
        for index, turn in enumerate(turns):
            following = turns[index + 1] if index + 1 < len(turns) else None
            self._turn(2 * index + 1, turn, following)
        asked = {"model": self.model, "messages": [{"role": "user", "content": self.row["goal"]}]}
        metadata = {
            "trajectory_id": self.out.name,
            "status": "completed",
            "kwargs": asked,
            "total_usage": {"completion_tokens": self.row["tokens"]},
            "new_items": self.items,
            "total_turns": 2 * len(turns) + 1,
            "tracer": about(self.row),
        }
        write_json(self.out / "metadata.json", metadata)

    def _turn(self, number: int, turn: Row, following: Row | None) -> None:
        seen = state(self.folder, self.row, turn)
        size = (turn["width"], turn["height"])
        if seen.image is not None:
            size = drawn(seen).size
            self._add(number, "screenshot_action.png", paint(seen, expected(turn), error=turn["error"]))
        output = list(_output(turn, f"turn-{number}", size))
        kept = {key: turn[key] for key in ("forecast", "chosen", "step", "error", "seconds")}
        asked = {"model": self.model, "messages": [{"role": "user", "content": turn["prompt"]}]}
        self._response(number, self.model, output, kwargs=asked, tracer=kept)
        screen = self._screen(number + 1, following) if following else None
        seen_next = {"type": "input_image", "image_url": screen} if screen else None
        for call in output:
            if "call_id" in call:
                result = {"type": f"{call['type']}_output", "call_id": call["call_id"],
                          "output": seen_next or turn["outcome"]}  # fmt: skip
                self._add(number + 1, f"{call['type']}_result.json", {"item": call, "result": [result]})
                output = [*output, result]
        self.items += output
        if following is None:  # the viewer shows nothing but answers; this one names who gives it
            self._response(number + 1, "tracer", [_message(f"The episode ended: {turn['outcome']}", f"end-{number}")])

    def _screen(self, number: int, turn: Row) -> str | None:
        seen = state(self.folder, self.row, turn)
        if seen.image is None:
            return None
        buffer = io.BytesIO()
        drawn(seen).save(buffer, "PNG")
        return self._add(number, "screenshot.png", buffer.getvalue())

    def _response(self, number: int, model: str, output: list[dict[str, Any]], **besides: Any) -> None:
        response = {"id": f"response-{number}", "object": "response", "status": "completed", "model": model}
        self._add(
            number, "agent_response.json", {"model": model, "response": {**response, "output": output}, **besides}
        )

    def _add(self, number: int, file: str, content: bytes | Mapping[str, Any]) -> str:
        path = self.out / f"turn_{number:03d}" / f"{self.number:04d}_{file}"
        path.parent.mkdir(exist_ok=True)
        self.number += 1
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_json(path, content)
        return path.relative_to(self.out).as_posix()


def _output(turn: Row, identity: str, size: tuple[int, int]) -> Sequence[dict[str, Any]]:
    """What the agent said and did, as items of the Responses API."""
    said = [_message(turn["answer"], f"{identity}-answer")] if turn["answer"] else []
    action = turn["action"]
    if action is None:
        return said
    call = {"id": identity, "call_id": identity, "status": "completed"}
    if action["type"] == "tool_call":
        arguments = json.dumps(action["arguments"], ensure_ascii=False)
        return [*said, {"type": "function_call", **call, "name": action["name"], "arguments": arguments}]
    return [*said, {"type": "computer_call", **call, "action": _action(action, size), "pending_safety_checks": []}]


def _message(text: str, identity: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": identity, "role": "assistant", "status": "completed", "content": [part]}


def _action(action: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """An action in pixels of a screen of this size."""
    sides = {"x": size[0], "to_x": size[0], "y": size[1], "to_y": size[1]}
    pixels = {key: round(action[key] * side) for key, side in sides.items() if key in action}
    place: dict[str, Any] = {key: pixels[key] for key in ("x", "y") if key in pixels}
    kind = action["type"]
    if kind in BUTTONS:
        return {"type": "click", "button": BUTTONS[kind], **place}
    if kind == "drag":
        end = {"x": pixels["to_x"], "y": pixels["to_y"]}
        line = {f"{at}_{side}": point[side] for at, point in (("start", place), ("end", end)) for side in point}
        return {"type": "drag", "path": [place, end], **line}  # Responses has the path, and the viewer reads the ends
    if kind == "key":
        return {"type": "keypress", "keys": [each for each in action["key"].split("+") if each] or [action["key"]]}
    if kind == "scroll":
        far = action.get("amount", SCROLL)
        across, down = (
            round(turned * far * side) for turned, side in zip(WHEEL[action["direction"]], size, strict=True)
        )
        middle = {"x": size[0] // 2, "y": size[1] // 2}
        return {"type": "scroll", **middle, **place, "scroll_x": across, "scroll_y": down}
    return {**action, **place}

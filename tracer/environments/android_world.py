"""AndroidWorld through the HTTP server of its own Docker image: an emulator a server, which plays an episode at a time.

``TRACER_ANDROID_WORLD`` names the servers' addresses, separated by commas. The seed of an episode is that of the
suite, of which there is one instance a template, as in the official run.py (seed 30). A state is a screenshot without
an element list, since the server gives none. ``answer`` and ``terminate`` tell the server that the agent is done, and
then the task's own checker says whether it succeeded.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
import orjson
import requests
from PIL import Image

from tracer import json_lines, package_data
from tracer.action import OPPOSITE, Action
from tracer.environments.acting import UnsupportedAction
from tracer.environments.environment import World
from tracer.instruction import describe
from tracer.trajectory import State

Answer = TypeVar("Answer")
SERVERS = "TRACER_ANDROID_WORLD"
TEMPLATES = tuple(
    row["template"] for row in json_lines.iterate(package_data.path("benchmarks/items/android_world.jsonl"))
)
SECONDS = 300.0
"""How long a server may take over a call: to initialise a task may install an app."""
POINTED = {"click": "click", "double_click": "double_tap", "long_press": "long_press"}
DONE = {"success": "complete", "failure": "infeasible"}
PLAIN = ("navigate_back", "navigate_home", "wait")


class ServerFailed(RuntimeError):
    """A server that does not answer, or answers with an error."""


class Emulator:
    """One server; ``step`` and ``reset`` raise ``ServerFailed``."""

    def __init__(self, address: str, template: str, free: Callable[[str], None]) -> None:
        self._address = address
        self._task = {"task_type": template, "task_idx": 0}
        self._free = free
        self._begun = False
        self.state = State(goal="")

    def reset(self, seed: int) -> State:
        """Start the template's instance of this seed, from the home screen."""
        self._end()
        self._call("POST", "reset", go_home=True)
        self._call("GET", "suite/reinitialize", n_task_combinations=1, seed=seed, task_family="android_world")
        self._call("POST", "task/initialize", **self._task)
        self._begun = True
        self.state = self._look(self._read("task/goal", lambda found: str(found["goal"]), **self._task), ())
        return self.state

    def step(self, action: Action, instruction: str | None = None) -> tuple[State, bool, bool]:
        """Act. Raises ``UnsupportedAction`` for what the server has no action for."""
        for each in as_json(action, self.state.width, self.state.height):
            self._call("POST", "execute_action", json=each)
        if action.type in ("answer", "terminate"):
            return self.state, True, self._read("task/score", lambda found: float(found["score"]), **self._task) == 1.0
        self.state = self._look(self.state.goal, (*self.state.history, instruction or describe(action)))
        return self.state, False, False

    def close(self) -> None:
        """Undo what the task changed, and leave the server to another environment."""
        try:
            self._end()
        finally:
            self._free(self._address)

    def _end(self) -> None:
        if self._begun:
            self._begun = False
            self._call("POST", "task/tear_down", **self._task)

    def _look(self, goal: str, history: tuple[str, ...]) -> State:
        picture, width, height = self._read("screenshot", _picture, wait_to_stabilize=True)
        return State(goal=goal, image=picture, width=width, height=height, history=history)

    def _read(self, path: str, read: Callable[[Any], Answer], **parameters: Any) -> Answer:
        found = self._call("GET", path, **parameters)
        try:
            return read(found)
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise ServerFailed(f"{self._address}/{path} is none of AndroidWorld's: {str(found)[:80]!r}") from error

    def _call(self, method: str, path: str, json: Any = None, **parameters: Any) -> Any:
        return call(method, f"{self._address}/{path}", SECONDS, params=parameters, json=json)


def _picture(found: Any) -> tuple[bytes, int, int]:
    """A screenshot as PNG, with its width and height."""
    pixels, picture = np.asarray(found["pixels"], dtype=np.uint8), io.BytesIO()
    height, width, _ = pixels.shape
    Image.fromarray(pixels).save(picture, "PNG")
    return picture.getvalue(), width, height


def call(method: str, url: str, seconds: float, **given: Any) -> Any:
    """What a server answers, from JSON; raises ``ServerFailed``."""
    try:
        response = requests.request(method, url, timeout=seconds, **given)
        response.raise_for_status()
        return orjson.loads(response.content)
    except (requests.RequestException, orjson.JSONDecodeError) as error:
        raise ServerFailed(f"{method} {url}: {error}") from error


def as_json(action: Action, width: int, height: int) -> list[dict[str, Any]]:
    """The server's actions for one of ours; points are pixels. Raises ``UnsupportedAction``."""
    kind = action.type
    place = (
        {"x": round(action.point[0] * (width - 1)), "y": round(action.point[1] * (height - 1))} if action.point else {}
    )
    if kind in POINTED:
        return [{"action_type": POINTED[kind], **place}]
    if kind == "scroll":
        # The server's direction is the content's, which goes against the finger.
        return [{"action_type": "scroll", "direction": OPPOSITE[action.get("direction")]}]
    if kind == "type":
        return [{"action_type": "input_text", "text": action.get("text"), **place}]
    if kind == "key" and action.get("key").lower() == "enter":
        return [{"action_type": "keyboard_enter"}]
    if kind == "open_app":
        return [{"action_type": "open_app", "app_name": action.get("app")}]
    if kind in PLAIN:
        return [{"action_type": kind}]
    if kind == "answer":
        return [
            {"action_type": "answer", "text": action.get("text")},
            {"action_type": "status", "goal_status": "complete"},
        ]
    if kind == "terminate":
        return [{"action_type": "status", "goal_status": DONE[action.get("status")]}]
    raise UnsupportedAction(f"AndroidWorld has no action for {action.to_json()}")


class AndroidWorldWorld(World):
    """The 116 templates, none of which a planner was trained on."""

    tasks: ClassVar[Mapping[str, Sequence[str]]] = {"heldout": TEMPLATES}
    impossible = (UnsupportedAction,)
    ends = ("solved", "failed: the task's checker says so")

    def __init__(self) -> None:
        super().__init__()
        self._unused = list(self.servers)

    @cached_property
    def servers(self) -> tuple[str, ...]:
        """The servers' addresses."""
        named = os.environ.get(SERVERS, "").split(",")
        return tuple(each.strip().rstrip("/") for each in named if each.strip())

    @property
    def slots(self) -> int:
        """One for each server."""
        return len(self.servers)

    @property
    def faults(self) -> tuple[type[Exception], ...]:
        """What a server fails with."""
        return (ServerFailed,)

    def version(self) -> tuple[str, str]:
        """The interface's name, as a server does not say its version; and why nothing can be played here."""
        if not self.servers:
            return "", f"{SERVERS} names no server; docs/benchmarks.md says how to start one"
        try:
            for each in self.servers:
                call("GET", f"{each}/health", 10.0)
        except ServerFailed as error:
            return "", str(error)
        return "android_world over HTTP", ""

    def open(self, task: str) -> Emulator:
        """A server that nobody uses."""
        return Emulator(self._unused.pop(), task, self._unused.append)

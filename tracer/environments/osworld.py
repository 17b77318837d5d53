"""OSWorld through the package desktop-env: virtual machines, each of which plays one task at a time.

``TRACER_OSWORLD`` names a YAML file with ``Settings``. A state is a screenshot; an action is code of pyautogui.
``answer`` and ``terminate`` end a task, and so does the last step that is allowed, or an answer that cannot be
executed: then the task's own evaluator gives a score, as in OSWorld's runner, and only a whole 1 counts as solved. A
task is the same for every seed. The results are written as OSWorld's runner writes them, to
``<output folder>/osworld/pyautogui/screenshot/<strategy>-<seed>/<domain>/<task id>``.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, ClassVar

import yaml
from PIL import Image
from pydantic import Field

from tracer import json_lines, package_data
from tracer.action import Action
from tracer.environments.acting import UnsupportedAction
from tracer.environments.environment import Calls, Environment, Method, World
from tracer.environments.osworld_results import TaskResults
from tracer.environments.pyautogui import code
from tracer.faults import faults
from tracer.instruction import describe
from tracer.json_files import read_json
from tracer.settings import Section
from tracer.threads import begun
from tracer.trajectory import State

SETTINGS = "TRACER_OSWORLD"
TASKS = tuple(row["id"] for row in json_lines.iterate(package_data.path("benchmarks/items/osworld.jsonl")))
HELP = "docs/benchmarks.md says how OSWorld is played"


class Settings(Section):
    """How OSWorld is played here."""

    tasks: Path
    """The folder evaluation_examples/examples of an OSWorld checkout: ``<domain>/<task id>.json``."""
    desktop: Mapping[str, Any] = {"provider_name": "docker", "headless": True}
    """The arguments of ``DesktopEnv``: the provider of the machines, their image, the size of the screen."""
    machines: int = Field(default=1, ge=1)
    """How many machines play at once."""
    ready_seconds: float = Field(default=60.0, ge=0)
    """How long a machine is left alone after a task was set up, and how long before it is evaluated, below: as in
    OSWorld's runner."""
    settle_seconds: float = Field(default=20.0, ge=0)
    pause_seconds: float = Field(default=2.0, ge=0)
    """How long an action may take to show on the screen."""
    start_timeout: float = Field(default=1800.0, gt=0)
    """Seconds after which a machine that is being started, set up or evaluated is given up."""
    step_timeout: float = Field(default=300.0, gt=0)
    """The same for one action."""


class MachineFailed(RuntimeError):
    """A machine, the task's set-up or its evaluator failed, or took too long; no fault of the agent's."""


class Machine:
    """One task on one machine; ``reset``, ``step`` and ``judge`` raise ``MachineFailed``."""

    def __init__(self, task: str, world: OsWorldWorld) -> None:
        self.task = task
        self.state = State(goal="")
        self.folder: Path | None = None
        """Where the results of the next episode are written; None writes none."""
        self._world, self._settings = world, world.settings
        self._desktop: Any = None
        self._results: TaskResults | None = None
        self._failed = False

    def reset(self, seed: int) -> State:
        """Set the task up on a machine that was put back to its snapshot."""
        self._results = TaskResults(self.folder) if self.folder else None
        screen, goal = self._within(self._settings.start_timeout, self._set_up)
        self.state = _state(screen, goal, ())
        return self.state

    def step(self, action: Action, instruction: str | None = None) -> tuple[State, bool, bool]:
        """Act. Raises ``UnsupportedAction`` for what pyautogui has no code for."""
        said, written = instruction or describe(action), code(action, self.state.width, self.state.height)
        screen, done, info = self._within(self._settings.step_timeout, partial(self._act, written))
        self.state = _state(screen, self.state.goal, (*self.state.history, said))
        if self._results:
            self._results.step(written, said, screen, done, info)
        return self.state, done, done and self.judge()

    def judge(self) -> bool:
        """Whether the task's evaluator gives a whole 1 now."""
        score = self._within(self._settings.start_timeout, self._evaluate)
        if self._results:
            self._results.end(score)
        return score == 1.0

    def close(self) -> None:
        """Leave the machine to another task, or stop it if it failed."""
        desktop, self._desktop = self._desktop, None
        if desktop is not None:
            self._world.give(desktop, self._failed)

    def _set_up(self) -> tuple[bytes, str]:
        task = read_json(self._settings.tasks / f"{self.task}.json")
        self._desktop = self._desktop or self._world.take()
        self._desktop.reset(task_config=task)
        time.sleep(self._settings.ready_seconds)
        return _alive(self._desktop.render()), task["instruction"]

    def _act(self, written: str) -> tuple[bytes, bool, Any]:
        observed, _, done, info = self._desktop.step(written, self._settings.pause_seconds)
        return _alive(observed["screenshot"]), done, info

    def _evaluate(self) -> float:
        time.sleep(self._settings.settle_seconds)
        score = float(self._desktop.evaluate())
        _alive(self._desktop.render())  # what cannot be read from a machine that died counts as wrong
        return score

    def _within(self, seconds: float, work: Callable[[], Any]) -> Any:
        try:
            return within(seconds, work)
        except Exception as error:  # desktop-env's own errors are of every kind
            self._failed = True
            name = "" if isinstance(error, MachineFailed) else f"{type(error).__name__}: "
            raise MachineFailed(f"{self.task}: {name}{error}") from error


def installed() -> str:
    """The version of desktop-env; empty where it is not installed."""
    try:
        return version_of("desktop-env")
    except PackageNotFoundError:
        return ""


def _alive(screen: bytes | None) -> bytes:
    if screen is None:  # what desktop-env returns after three tries
        raise MachineFailed("the machine gives no screenshot")
    return screen


def _state(screen: bytes, goal: str, history: tuple[str, ...]) -> State:
    with Image.open(io.BytesIO(screen)) as opened:
        width, height = opened.size
    return State(goal=goal, image=screen, width=width, height=height, history=history)


def within(seconds: float, work: Callable[[], Any]) -> Any:
    """What a call returns or raises; ``TimeoutError`` if it takes longer, after which it is left to itself.

    desktop-env calls its machines without a time-out. A thread that waits for ever does not keep the process alive.
    """
    future = begun(work)
    try:
        return future.result(seconds)
    except TimeoutError as error:
        if future.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} seconds") from error


class OsWorldWorld(World):
    """The 361 tasks of OSWorld-Verified, none of which a planner was trained on."""

    tasks: ClassVar[Mapping[str, Sequence[str]]] = {"heldout": TASKS}
    impossible = (UnsupportedAction,)
    faults = (MachineFailed,)
    ends = ("solved", "failed: the task's evaluator says so")
    seconds = 14_400.0

    def __init__(self) -> None:
        super().__init__()
        self._idle: list[Any] = []
        self._started: list[Any] = []

    @cached_property
    def settings(self) -> Settings:
        """What the file holds that the environment variable names. Raises ``ValueError`` and ``OSError``."""
        if not os.environ.get(SETTINGS):
            raise ValueError(f"{SETTINGS} names no file; {HELP}")
        path = Path(os.environ[SETTINGS])
        try:
            return Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (ValueError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: {faults(error)}") from error

    @property
    def slots(self) -> int | None:
        """One for each machine."""
        return None if self.version()[1] else self.settings.machines

    def version(self) -> tuple[str, str]:
        """The package and the provider, and why nothing can be played here."""
        try:
            folder = self.settings.tasks
        except (ValueError, OSError) as error:
            return "", str(error)
        if not installed():
            return "", f"desktop-env is not installed; {HELP}"
        missing = [task for tasks in self.tasks.values() for task in tasks if not (folder / f"{task}.json").is_file()]
        if missing:
            return "", f"{folder} lacks {len(missing)} tasks, such as {missing[0]}.json; {HELP}"
        provider = self.settings.desktop.get("provider_name", "vmware")
        return f"desktop-env {installed()}, {provider}", ""

    def open(self, task: str) -> Machine:
        """A machine for this task."""
        return Machine(task, self)

    def begins(self, environment: Environment, episode: str) -> None:
        """Name the folder of the episode's results."""
        assert isinstance(environment, Machine)
        if self.folder is not None:
            name = episode.replace(f"/{environment.task}/", "-", 1).replace("/", "-")
            environment.folder = self.folder / "osworld" / "pyautogui" / "screenshot" / name / environment.task

    def judge(self, environment: Environment) -> bool:
        """What the evaluator says, as OSWorld's runner asks it after the last step, too."""
        assert isinstance(environment, Machine)
        return environment.judge()

    def together(self, method: Method, calls: Calls) -> list[Any]:
        """The calls of all machines at once: most of a step is waiting."""
        alone = super().together
        with ThreadPoolExecutor(max(1, len(calls))) as pool:
            return [outcome for (outcome,) in pool.map(lambda call: alone(method, [call]), calls)]

    def take(self) -> Any:
        """A machine that is idle, or else a new one, which is stopped with the world."""
        try:
            return self._idle.pop()
        except IndexError:
            from desktop_env.desktop_env import DesktopEnv

            cache = self.enter_context(tempfile.TemporaryDirectory(prefix="osworld-", ignore_cleanup_errors=True))
            given = {"cache_dir": cache, "require_a11y_tree": False}
            desktop = DesktopEnv(**given | dict(self.settings.desktop) | {"action_space": "pyautogui"})
            self._started.append(desktop)
            self.callback(self._stop, desktop)
            return desktop

    def give(self, desktop: Any, failed: bool) -> None:
        """Take a machine back, or stop it. Raises ``MachineFailed``."""
        if failed:
            self._stop(desktop)
        else:
            self._idle.append(desktop)

    def _stop(self, desktop: Any) -> None:
        if desktop not in self._started:  # it failed, and was stopped then
            return
        self._started.remove(desktop)
        try:
            within(self.settings.step_timeout, desktop.close)
        except Exception as error:
            raise MachineFailed(f"a machine cannot be stopped: {type(error).__name__}: {error}") from error

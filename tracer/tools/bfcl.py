"""BFCL's multi-turn environments, executed: stateful APIs of the package ``bfcl-eval`` and the tasks set in them.

Its pins fit no environment of ours, so ``make items`` lays its files, without what it depends on, into ``build/bench``.
Its checker runs a call as Python text, so each is read with ``ast`` first: one that is not a plain function with
literal arguments is replaced by one that fails, as an ill-formed call does there.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.action import Action, ActionError
from tracer.lineage.digest import file_digest
from tracer.settings import ConfigError
from tracer.tools.execution import Identity
from tracer.tools.gold import GoldExecutor, written_call

PACKAGE = "bfcl_eval"
SOURCE = "bfcl"
"""The source of its trajectories; each is one turn of a task, named ``bfcl/<task>/<turn>``."""
FOLDER = Path("build/bench")
APIS = "eval_checker/multi_turn_eval/func_source_code"
CATEGORIES = ("base", "miss_param", "miss_func", "long_context")
FAMILIES = ("GorillaFileSystem", "TradingBot", "TravelAPI", "VehicleControlAPI")
"""The APIs of which every task has one."""
REFUSED = "refused_call()"
LARGEST = {"power": 10_000, "logarithm": 10_000, "square_root": 10**9}
"""Numbers beyond which these functions would compute for ever."""
LONGEST_CALL = 20_000


class BfclExecutor(GoldExecutor):
    """Runs a call in the task's APIs."""

    name = SOURCE

    @cached_property
    def _tasks(self) -> dict[str, tuple[dict[str, Any], list[list[str]]]]:
        return {task["id"]: (task, gold) for task, gold in tasks()}

    def reach(self, trajectory: str, step: int) -> Session | None:
        """The APIs of a task after its first turns and the first steps of the next."""
        task, _, turn = trajectory.partition("/")
        if not turn.isdigit() or task not in self._tasks:
            return None
        definition, gold = self._tasks[task]
        session = Session(definition)
        for text in itertools.chain(*gold[: int(turn)], gold[int(turn)][:step]):
            call = session.action(text)
            session.call(call.get("name"), call.tool_arguments)
        return session

    def identities(self) -> list[Identity]:
        """Every API, by the digest of its module."""
        folder, version = find() / APIS, importlib.metadata.version("bfcl-eval")
        return [
            Identity(name=f"{self.name}/{file.stem}", version=version, digest=file_digest(file))
            for file in sorted(folder.glob("*.py"))
        ]


class Session:
    """Fresh API objects of one task."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        self.apis = {name: _api(name, task) for name in sorted(task["involved_classes"])}

    def methods(self) -> dict[str, Any]:
        """The functions that can be called, by name."""
        return {
            name: method
            for api in self.apis.values()
            for name, method in inspect.getmembers(api, inspect.ismethod)
            if not name.startswith("_")
        }

    def described(self, turn: int) -> str:
        """The functions with their signatures, as the planner is shown them in a turn.

        Source: bfcl-eval, which never shows the excluded ones, and a missed one from its turn on.
        """
        missed = {at: names for at, names in self._task.get("missed_function", {}).items() if int(at) > turn}
        hidden = {*self._task.get("excluded_function", ()), *itertools.chain(*missed.values())}
        shown = {name: each for name, each in sorted(self.methods().items()) if name not in hidden}
        return "Tools: " + "; ".join(f"{name}{inspect.signature(each)}" for name, each in shown.items())

    def action(self, text: str) -> Action:
        """The tool call of a text such as ``cd('document')``, its arguments by name; raises ``ActionError``."""
        node = ast.parse(safe(text), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in self.methods():
            raise ActionError(f"{text[:80]!r} calls none of the task's functions")
        named = {str(each.arg): ast.literal_eval(each.value) for each in node.keywords}
        bound = inspect.signature(self.methods()[node.func.id]).bind(*map(ast.literal_eval, node.args), **named)
        return Action.of("tool_call", name=node.func.id, arguments=bound.arguments)

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, bool]:
        """What the function answers, and whether it could not be called."""
        text, methods = written_call(name, arguments), self.methods()
        if safe(text) == REFUSED or name not in methods:
            return f"error: there is no way to call {text[:200]}", True
        try:
            return str(methods[name](**arguments)), False
        except Exception as error:  # upstream returns whatever the API raises to the model
            return f"Error during execution: {error}", True

    def state(self) -> dict[str, dict[str, Any]]:
        """What the package's checker compares: the public attributes of every API."""
        return {
            name: {key: value for key, value in vars(api).items() if not key.startswith("_")}
            for name, api in self.apis.items()
        }


def _api(name: str, task: Mapping[str, Any]) -> Any:
    config = importlib.import_module("bfcl_eval.constants.executable_backend_config")
    api = getattr(importlib.import_module(config.CLASS_FILE_PATH_MAPPING[name]), name)()
    if name not in config.STATELESS_CLASSES:
        scenario = json.loads(json.dumps(task["initial_config"].get(name, {})))
        api._load_scenario(scenario, long_context="long_context" in task["id"])
    return api


def safe(text: str) -> str:
    """The call itself if it is one function of literals, else one that fails."""
    if len(text) > LONGEST_CALL:
        return REFUSED
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id.startswith("_"):
            return REFUSED
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            return REFUSED
        if any(keyword.arg is None for keyword in node.keywords):
            return REFUSED
        values = [ast.literal_eval(value) for value in (*node.args, *(keyword.value for keyword in node.keywords))]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return REFUSED
    limit = LARGEST.get(node.func.id)
    if limit is not None and any(not isinstance(v, int | float) or abs(v) > limit for v in values):
        return REFUSED
    return text.strip()


def family_of(task: Mapping[str, Any]) -> str | None:
    """Which of ``FAMILIES`` a task is of."""
    return next((name for name in FAMILIES if name in task["involved_classes"]), None)


def find() -> Path:
    """Make the package importable, from the environment or from ``build/bench``: its folder; raises ``ConfigError``."""
    if importlib.util.find_spec(PACKAGE) is None and (FOLDER / PACKAGE).is_dir():
        sys.path.append(str(FOLDER.resolve()))
        importlib.invalidate_caches()
    if importlib.util.find_spec(PACKAGE) is None:
        raise ConfigError("BFCL needs the package bfcl-eval, which `make items` lays into build/bench")
    return Path(str(resources.files(PACKAGE)))


def tasks(data: Path | None = None) -> Iterator[tuple[dict[str, Any], list[list[str]]]]:
    """Every task and its gold trajectory, of a folder such as the package's ``data``; raises ``ConfigError``."""
    package = find()  # the tasks of a folder, too, are run by the package
    folder = package / "data" if data is None else data
    for category in CATEGORIES:
        file = f"BFCL_v4_multi_turn_{category}.json"
        gold = {row["id"]: row["ground_truth"] for row in json_lines.iterate(folder / "possible_answer" / file)}
        for task in json_lines.iterate(folder / file):
            yield task, gold[task["id"]]

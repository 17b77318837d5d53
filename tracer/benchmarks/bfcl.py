"""BFCL v4 multi-turn: 800 tasks over eight stateful APIs, judged by the package's own checker.

The package ``bfcl-eval`` brings tasks, APIs, gold trajectories and checker. Its pins fit no environment of ours, so
``make items`` lays its files, without what it depends on, into ``build/bench``. The checker runs a prediction's calls
as Python text, so each is read with ``ast`` first: a call that is not one plain function with literal arguments is
replaced by one that fails, as an ill-formed call does there.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tracer import json_lines
from tracer.planner.plan import Planner
from tracer.scoring.contract import Benchmark, BenchmarkError, Outcome, Part, PredictionRow, Row, Worker
from tracer.scoring.drivers import STEPS, converse
from tracer.tools.tool_agent import ToolAgent

PACKAGE = "bfcl_eval"
FOLDER = Path("build/bench")
CATEGORIES = ("base", "miss_param", "miss_func", "long_context")
REFUSED = "refused_call()"
LARGEST = {"power": 10_000, "logarithm": 10_000, "square_root": 10**9}
"""Numbers beyond which these functions would compute for ever."""
LONGEST_CALL = 20_000
_runs = itertools.count()


class Item(Row):
    """One task; questions and gold are the package's."""

    category: Literal["base", "miss_param", "miss_func", "long_context"]
    turns: int = Field(gt=0)


class Prediction(PredictionRow):
    """``native``: for each turn, for each of its steps, the calls as texts: ``cd(folder='document')``."""

    native: list[list[list[str]]] | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["multi_turn_checker"]


class Bfcl(Benchmark):
    """Multi-turn tasks."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    @cached_property
    def _tasks(self) -> dict[str, tuple[dict[str, Any], list[list[str]]]]:
        return {task["id"]: (task, gold) for task, gold in tasks()}

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one task. Raises ``Unparsable`` and, for a task the package lacks, ``BenchmarkError``."""
        valid = False
        if prediction is not None:
            calls = prediction.required("the calls by turn and step")
            if item.id not in self._tasks:
                raise BenchmarkError(f"{PACKAGE} has no task {item.id!r}; leave --items out to take its own")
            valid = check(*self._tasks[item.id], calls)
        return Outcome(
            parts={"accuracy": (valid, 1)},
            cluster=item.id,
            stratum=item.category,
            groups=(f"category={item.category}",),
        )

    def own_items(self) -> Iterator[dict[str, Any]]:
        """The package's 800 tasks."""
        for task, gold in tasks():
            category = task["id"].removeprefix("multi_turn_").rsplit("_", 1)[0]
            yield {"id": task["id"], "category": category, "turns": len(gold)}

    def worker(self, planner: Planner, horizon: int, tools: ToolAgent, images: Path | None) -> Worker:
        """The planner as an agent that calls the task's functions, turn by turn."""
        steps, known = self.protocol.decoding.max_steps or STEPS, self._tasks
        return lambda items: [play(*known[item["id"]], planner, horizon, steps) for item in items]


def check(task: dict[str, Any], gold: list[list[str]], calls: list[list[list[str]]]) -> bool:
    """Whether the package's checker passes the calls of every turn."""
    if len(calls) != len(gold):
        return False  # upstream: the model was stopped before the last turn
    checker = importlib.import_module(f"{PACKAGE}.eval_checker.multi_turn_eval.multi_turn_checker")
    # Empty steps are no response, as in the package's own decoding.
    decoded = [[[safe(call) for call in step] for step in turn if step] for turn in calls]
    # The package keeps every API object in its module, by this name: a name of its own keeps runs apart.
    name = f"tracer{next(_runs)}"
    try:
        verdict = checker.multi_turn_checker(decoded, gold, task, task["id"].rsplit("_", 1)[0], name)
    finally:
        _forget(name)
    return bool(verdict["valid"])


def _forget(name: str) -> None:
    kept = vars(importlib.import_module(f"{PACKAGE}.eval_checker.multi_turn_eval.multi_turn_utils"))
    for key in [key for key in kept if key.startswith(f"{name}_")]:
        del kept[key]


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


def play(task: dict[str, Any], gold: Sequence[Any], planner: Planner, horizon: int, steps: int) -> dict[str, Any]:
    """One task, turn by turn, in fresh API objects."""
    apis = [_api(name, task) for name in task["involved_classes"]]
    methods = {
        name: method
        for api in apis
        for name, method in inspect.getmembers(api, inspect.ismethod)
        if not name.startswith("_")
    }
    described = "Tools: " + "; ".join(f"{name}{inspect.signature(method)}" for name, method in sorted(methods.items()))

    def call(name: str, arguments: Mapping[str, Any]) -> str:
        text = written_call(name, arguments)
        if safe(text) == REFUSED or name not in methods:
            return f"error: there is no way to call {text[:200]}"
        try:
            return str(methods[name](**arguments))
        except Exception as error:  # upstream returns whatever the API raises to the model
            return f"Error during execution: {error}"

    native = []
    for turn in task["question"]:
        said = "\n".join(message["content"] for message in turn)
        calls, _ = converse(said, described, call, planner, horizon, steps)
        native.append([[written_call(action.get("name"), action.tool_arguments)] for action in calls])
    return {"native": native[: len(gold)]}


def _api(name: str, task: Mapping[str, Any]) -> Any:
    config = importlib.import_module("bfcl_eval.constants.executable_backend_config")
    api = getattr(importlib.import_module(config.CLASS_FILE_PATH_MAPPING[name]), name)()
    if name not in config.STATELESS_CLASSES:
        scenario = json.loads(json.dumps(task["initial_config"].get(name, {})))
        api._load_scenario(scenario, long_context="long_context" in task["id"])
    return api


def written_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A tool call as BFCL writes it: ``cd(folder='document')``."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def find() -> None:
    """Make the package importable, from the environment or from ``build/bench``; raises ``BenchmarkError``."""
    if importlib.util.find_spec(PACKAGE) is None and (FOLDER / PACKAGE).is_dir():
        sys.path.append(str(FOLDER.resolve()))
        importlib.invalidate_caches()
    if importlib.util.find_spec(PACKAGE) is None:
        raise BenchmarkError("BFCL needs the package bfcl-eval, which `make items` lays into build/bench")


def tasks() -> Iterator[tuple[dict[str, Any], list[list[str]]]]:
    """Every task and its gold trajectory; raises ``BenchmarkError`` without the package."""
    find()
    data = Path(str(resources.files(PACKAGE))) / "data"
    for category in CATEGORIES:
        file = f"BFCL_v4_multi_turn_{category}.json"
        gold = {row["id"]: row["ground_truth"] for row in json_lines.iterate(data / "possible_answer" / file)}
        for task in json_lines.iterate(data / file):
            yield task, gold[task["id"]]

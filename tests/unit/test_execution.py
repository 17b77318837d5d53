"""Tool calls are executed at their state: what a call achieves there is what it is worth."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.episodes import sample
from tracer import json_lines, plugins, tools
from tracer.action import Action
from tracer.benchmarks import bfcl as benchmark
from tracer.config import Config
from tracer.evaluation.offline import recipe as evaluation_recipe
from tracer.examples import Example, examples
from tracer.forecast import ForecastStep
from tracer.sources import bfcl as source
from tracer.sources.source import OptionError, Rejected, SourceError
from tracer.tools import bfcl
from tracer.tools.execution import Executors, Identity, Outcome
from tracer.training import stage2
from tracer.trajectory import State, Trajectory

EXECUTED = Config.model_validate(
    {"profile": "test", "planner": {"grammar": "literal"}, "grounding": {"executors": ["bfcl"]}}
)
TASKS = 6
"""Of each category; the first are about files, those about travel come late."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first tasks of each category, and two of the held-out family."""
    try:
        every = list(bfcl.tasks())
    except ValueError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("bfcl")
    (folder / "possible_answer").mkdir()
    for category in bfcl.CATEGORIES:
        chosen = [(task, gold) for task, gold in every if task["id"].startswith(f"multi_turn_{category}_")]
        chosen = [*chosen[:TASKS], *chosen[-2:]]
        name = f"BFCL_v4_multi_turn_{category}.json"
        json_lines.write(folder / name, [task for task, _ in chosen])
        answers = [{"id": task["id"], "ground_truth": gold} for task, gold in chosen]
        json_lines.write(folder / "possible_answer" / name, answers)
    return folder


@pytest.fixture(scope="module")
def found(data: Path) -> list[Trajectory]:
    return [each for each in source.read(data) if isinstance(each, Trajectory)]


@pytest.fixture(scope="module")
def executors() -> Executors:
    return Executors(["bfcl"])


def at(found: list[Trajectory], id: str, step: int = 0, reference: Action | None = None) -> Example:
    """A state, with another reference if one is given."""
    trajectory = next(each for each in found if each.id == id)
    example = list(examples([trajectory], 5))[step]
    if reference is None:
        return example
    return Example(
        **{name: getattr(example, name) for name in ("trajectory", "step", "task", "split", "state", "remaining")},
        reference=(ForecastStep(action=reference, instruction="as asked"),),
    )


def call(name: str, **arguments: Any) -> Action:
    return Action.of("tool_call", name=name, arguments=arguments)


def test_the_turns_pass_the_packages_own_checker(data: Path, found: list[Trajectory]) -> None:
    written = {each.id: [bfcl.written_call(a.get("name"), a.tool_arguments) for a in made(each)] for each in found}
    checked = 0
    for task, gold in bfcl.tasks(data):
        # A turn in which nothing is said has gold calls, too, and no trajectory.
        turns = [[written.get(f"bfcl/{task['id']}/{turn}", calls)] for turn, calls in enumerate(gold)]
        checked += benchmark.check(task, gold, turns)
    assert checked == 4 * (TASKS + 2)


def made(trajectory: Trajectory) -> list[Action]:
    return [step.action for step in trajectory.steps if step.action.type == "tool_call"]


def test_a_family_is_held_out_and_no_task_is_in_two_splits(found: list[Trajectory], data: Path) -> None:
    held_out = {each.task for each in found if each.split == "heldout"}
    assert held_out == {"bfcl-TravelAPI"} == {each.task for each in found} - {"bfcl-GorillaFileSystem"}
    splits: dict[str, set[str]] = {}
    for each in found:
        splits.setdefault(each.id.split("/")[1].rpartition("_")[2], set()).add(each.split)
    assert all(len(each) == 1 for each in splits.values())
    assert {each.split for each in found} == {"train", "validation", "test", "heldout"}
    other = {each.split for each in source.read(data, "GorillaFileSystem", "base") if isinstance(each, Trajectory)}
    assert other == {"heldout", "train"}  # travel's last two are for training then


def test_a_turn_ends_and_says_where_it_cannot_be_done(found: list[Trajectory]) -> None:
    ends = Counter((each.steps[-1].action.get("status"), bool(made(each))) for each in found)
    assert set(ends) == {("success", True), ("failure", False)}
    first = found[0]
    assert first.steps[1].observation.startswith("{'current_working_directory': 'document'}\nTools: ")
    assert "cp(" not in first.steps[0].observation  # which the task excludes
    hidden = next(each for each in found if each.id == "bfcl/multi_turn_miss_func_0/0")
    assert "sort(" in first.steps[0].observation and "sort(" not in hidden.steps[0].observation


def test_what_cannot_be_told_apart_is_rejected(data: Path) -> None:
    rejected = [each for each in source.read(data, categories="miss_func") if isinstance(each, Rejected)]
    assert {(each.reason, each.fix) for each in rejected} == {("empty field", "correct the record, or leave it out")}
    assert len(rejected) == TASKS + 2  # the turn of each task of miss_func in which nothing is said
    turn = next(each for each in source.read(data) if isinstance(each, Trajectory))
    with pytest.raises(ValueError, match="shared state"):
        source._apart(turn, {(turn.goal, turn.steps[0].observation): "train"}, None)  # type: ignore[arg-type]


def test_wrong_options_and_folders_say_so(data: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="heldout is one of GorillaFileSystem"):
        next(source.read(data, heldout="MathAPI"))
    with pytest.raises(OptionError, match="categories are of base"):
        next(source.read(data, categories="base,else"))
    with pytest.raises(SourceError, match="contains no BFCL tasks; `make items`"):
        next(source.read(tmp_path))


def test_every_reference_is_worth_one(found: list[Trajectory], executors: Executors) -> None:
    states = list(examples(found, 5))
    worth = Counter(
        (each.reference[0].action.type, executors.reward(each, each.reference[0].action)) for each in states
    )
    assert set(worth) == {("tool_call", 1.0), ("terminate", None)}
    counted = executors.counts(states)
    assert counted == {"executed": worth["tool_call", 1.0], "compared": 0}


START = "bfcl/multi_turn_base_0/0"
MKDIR, RMDIR = call("mkdir", dir_name="temp"), call("rmdir", dir_name="temp")


@pytest.mark.parametrize(
    ("step", "reference", "made", "worth"),
    [
        (1, MKDIR, MKDIR, 1.0),
        (1, MKDIR, call("mkdir", dir_name="tmp"), 0.0),
        (1, MKDIR, call("ls"), 0.0),
        (2, RMDIR, call("rm", file_name="temp"), 1.0),  # another way to the same state
        (2, RMDIR, call("rm", file_name="final_report.pdf"), 0.0),
        (0, call("cd", folder="document"), call("cd", folder="archive"), 0.0),  # the answer says where it is
        (1, call("ls"), call("ls", a=False), 1.0),  # the same answer
        (1, call("ls"), call("pwd"), 0.0),  # changes nothing either, and answers another question
        (1, call("ls"), MKDIR, 0.0),  # a question that changes something
        (1, call("ls"), call("ls", b=1), 0.0),
        (1, call("ls"), call("no_such_tool"), 0.0),
        (1, call("ls"), call("__class__"), 0.0),
        (1, call("ls"), Action.of("answer", text="{}"), 0.0),
        (1, call("ls"), None, 0.0),
        (1, call("no_such_tool"), call("no_such_tool"), None),  # not to be run: compared
        (1, Action.of("answer", text="yes"), call("ls"), None),
    ],
)
def test_a_call_is_worth_what_it_achieves(
    found: list[Trajectory],
    executors: Executors,
    step: int,
    reference: Action,
    made: Action | None,
    worth: float | None,
) -> None:
    state = at(found, START, step, reference)
    assert executors.reward(state, made) == worth
    assert executors.reward(state, made) == worth, "the environment did not stay as it was"


def test_a_state_is_reached_through_the_turns_before(found: list[Trajectory], executors: Executors) -> None:
    """The second turn searches a file that the first one moved."""
    state = at(found, "bfcl/multi_turn_base_0/1", 1)
    assert state.reference[0].action.get("name") == "grep"
    assert executors.reward(state, state.reference[0].action) == 1.0
    assert executors.reward(state, call("grep", file_name="final_report.pdf", pattern="no such words")) == 0.0


def test_stage_two_rewards_what_was_executed(found: list[Trajectory]) -> None:
    state = at(found, START, 2, RMDIR)
    line = '{"action": "tool_call", "name": "rm", "arguments": {"file_name": "temp"}, "step": "remove it"}'
    compared = Config.model_validate({"profile": "test", "planner": {"grammar": "literal"}})
    assert stage2.scorer(EXECUTED)(state, line).total == 1.0
    assert stage2.scorer(compared)(state, line).total == 0.0
    asked = at(found, START, 1, call("no_such_tool"))
    same = '{"action": "tool_call", "name": "no_such_tool", "arguments": {}, "step": "as asked"}'
    assert stage2.scorer(EXECUTED)(asked, same).total == 1.0  # by comparison
    counted = stage2.STAGE.objective(EXECUTED).counts([state, asked, at(found, START, 3)])
    assert counted == {"executed": 1, "compared": 1}  # the third is the end of a turn, and no call
    assert stage2.STAGE.objective(compared).counts([state]) == {"executed": 0, "compared": 1}


def test_screens_are_neither_executed_nor_compared() -> None:
    screen = Example(
        trajectory="jsonl/1", step=0, task="t", split="train", state=State(goal="g"), remaining=1,
        reference=(ForecastStep(action=Action.of("wait"), instruction="wait"),),
    )  # fmt: skip
    assert sample() and stage2.STAGE.objective(EXECUTED).counts([screen]) == {}
    assert Executors(["bfcl"]).reward(screen, call("ls")) is None


def test_every_tool_is_named_in_what_the_digests_are_made_of(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = stage2.STAGE.rules(EXECUTED)["tools"]
    assert {"bfcl/travel_booking", "bfcl/gorilla_file_system"} <= {each["name"] for each in named}
    assert all(each["version"] == "2026.3.23" and len(each["digest"]) == 64 for each in named)
    assert "tools" not in stage2.STAGE.rules(Config(profile="test"))
    assert stage2.STAGE.plugins(EXECUTED) == ["tracer.tools.elements", "tracer.tools.bfcl"]
    (tmp_path / "planner.json").write_text('{"backend": "openai"}', encoding="utf-8")
    evaluated = evaluation_recipe(EXECUTED, data, tmp_path)
    assert evaluated["config"]["tools"] == named and "tracer.tools.bfcl" in evaluated["plugins"]
    copied = tmp_path / "bfcl_eval" / bfcl.APIS
    copied.mkdir(parents=True)
    (copied / "travel_booking.py").write_text("class TravelAPI: pass\n", encoding="utf-8")
    monkeypatch.setattr(bfcl, "find", lambda: tmp_path / "bfcl_eval")
    other = stage2.STAGE.rules(EXECUTED)["tools"]
    assert [each["name"] for each in other] == ["bfcl/travel_booking"]
    assert other[0]["digest"] not in {each["digest"] for each in named}


class Echo:
    """Another package's executor: its only tool repeats what it is told."""

    name = "echo"

    def execute(self, at: Example, call: Action) -> Outcome | None:
        return Outcome(answer=str(call.tool_arguments.get("text"))) if call.get("name") == "echo" else None

    def identities(self) -> list[Identity]:
        return [Identity(name="echo", version="1", digest="0" * 64)]


def test_the_first_executor_that_can_run_the_reference_judges(
    found: list[Trajectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda group, name: Echo if name == "echo" else load(group, name))
    both = Executors(["echo", "bfcl"])
    said = at(found, START, 1, call("echo", text="hello", volume=1))
    assert both.reward(said, call("echo", text="hello", volume=2)) == 1.0
    assert both.reward(said, MKDIR) == 0.0  # which echo cannot run
    assert both.reward(at(found, START, 1, MKDIR), MKDIR) == 1.0
    assert [each["name"] for each in itertools.islice(both.identities(), 1)] == ["echo"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bfcl, "PACKAGE", "bfcl_eval_that_is_not_there")
    with pytest.raises(ValueError, match="needs the package bfcl-eval, which `make items` lays into build/bench"):
        tools.identities(EXECUTED.grounding)


def test_upstream_is_told_of_functions_that_are_shown_anew(data: Path) -> None:
    prompts = __import__("bfcl_eval.constants.default_prompts", fromlist=["x"])
    assert benchmark.MORE_FUNCTIONS == prompts.DEFAULT_USER_PROMPT_FOR_ADDITIONAL_FUNCTION_FC

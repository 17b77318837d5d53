"""The toolbox: a schema for each tool, and answers that depend on the arguments alone."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tracer import plugins, tools
from tracer.action import Action
from tracer.examples import Example
from tracer.forecast import ForecastStep
from tracer.tools import jail
from tracer.tools.calculator import Calculator
from tracer.tools.execution import Executors, Outcome
from tracer.tools.python import Python
from tracer.tools.search import WebSearch
from tracer.tools.settings import GroundingConfig
from tracer.tools.toolbox import Tool
from tracer.trajectory import State


def at(reference: Action) -> Example:
    return Example(
        trajectory="mine/1", step=0, task="t", split="train", state=State(goal="g"), remaining=1,
        reference=(ForecastStep(action=reference, instruction="call it"),),
    )  # fmt: skip


def call(name: str, **arguments: object) -> Action:
    return Action.of("tool_call", name=name, arguments=arguments)


def made(tool: Tool, **arguments: object) -> Outcome | None:
    asked = call(tool.name, **arguments)
    return tool.execute(at(asked), asked)


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("2 * (3 + sqrt(16)) ** 2", "98"),
        ("7 // 2 - -1", "4"),
        ("0.1 + 0.2", "0.3"),
        ("2 ** 100", "1267650600228229401496703205376"),
        (" 10 / 4", "2.5"),
        ("max(1, 2, round(pi, 2))", "3.14"),
        ("round(1234, -2) + round(2.5)", "1202"),
        ("gcd(12, 18) % 4", "2"),
        ("e ** 0.5", "1.6487212707"),
    ],
)
def test_the_calculator_works_out(expression: str, answer: str) -> None:
    assert made(Calculator(), expression=expression) == Outcome(answer=answer)


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "().__class__", "open('/etc/passwd')", "[1 for _ in range(9)]", "lambda: 1",
        "x", "'a' * 9", "True", "1 if 1 else 2", "print(1)", "sqrt.__call__(4)", "sqrt(x=4)", "sqrt(*[4])", "1; 2", "",
        "9 ** 9 ** 9", "2 ** 99999", "1 / 0", "sqrt(-1)", "(-8) ** 0.5", "1e308 * 10", "exp(9999)", "1 << 9",
        "round(123, -10 ** 10)", "-" * 400 + "x",
        "(" * 200 + ")" * 200, "1 +", "1" * 501, "5j", "f'{1}'", "1 @ 2", "log(0)", "\0", "((2 ** 4000) ** 3) ** 3",
    ],
)  # fmt: skip
def test_the_calculator_refuses(expression: str) -> None:
    outcome = made(Calculator(), expression=expression)
    assert outcome is not None and outcome.failed and outcome.answer.startswith("error: ")


def test_a_tool_has_a_schema_that_says_what_it_takes() -> None:
    for tool in (Calculator(), Python(), WebSearch()):
        parameters = tool.schema["parameters"]
        jsonschema.Draft202012Validator.check_schema(parameters)
        (argument,) = parameters["properties"]
        jsonschema.validate({argument: "1 + 1"}, parameters)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({}, parameters)
        outcome = made(tool)
        assert outcome is not None and outcome.failed and outcome.answer == f"error: {argument}: Field required"
        assert tool.schema["name"] == tool.name in plugins.names(plugins.EXECUTORS)
        json.dumps(tool.schema)


def test_a_call_is_worth_its_answer() -> None:
    executors = Executors(["calculator"])
    reference = at(call("calculator", expression="2 * 21"))
    assert executors.reward(reference, call("calculator", expression="6 * 7")) == 1.0
    assert executors.reward(reference, call("calculator", expression="6 * 8")) == 0.0
    assert executors.reward(reference, call("python", code="print(42)")) == 0.0
    assert executors.reward(at(call("calculator", expression="1 / 0")), call("calculator", expression="1 / 0")) is None
    assert executors.reward(at(call("search", query="42")), call("search", query="42")) is None
    (named,) = tools.identities(GroundingConfig(executors=("calculator",)))["tools"]
    assert named["name"] == "calculator" and named["version"] and named["digest"]


def test_python_answers_what_it_prints() -> None:
    try:
        jail.python()
    except jail.JailError as error:
        pytest.skip(str(error))
    tool = Python()
    assert made(tool, code="print(6 * 7)") == Outcome(answer="42\n")
    for code in ("raise SystemExit(3)", "import os; os.kill(os.getpid(), 9)", "1 +"):
        outcome = made(tool, code=code)
        assert outcome is not None and outcome.failed
    random = "import random; print(random.random())"
    assert made(tool, code=random) == made(tool, code=random)  # kept, so that the same call has the same outcome
    (named,) = tool.identities()
    assert "bubblewrap" in named.version and "Python 3." in named.version


def test_without_a_jail_no_call_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(code: str) -> jail.Ended:
        raise jail.JailError("nothing can be isolated")

    monkeypatch.setattr(jail, "run", refuse)
    executors = Executors(["python"])
    program = call("python", code="print(1)")
    with pytest.raises(jail.JailError):
        executors.reward(at(program), program)
    with pytest.raises(jail.JailError):  # and training ends before it begins: its digest names the tools
        tools.identities(GroundingConfig(executors=("python",)))

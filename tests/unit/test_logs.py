"""The log as JSON: every line of it, whoever wrote it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster_pipes import PipesContextData, encode_param

from pipelines.loggers import Brief, brief
from tracer import logs

KEYS = {"time", "level", "logger", "message", "run", "step", "digest"}
PROGRAM = """
import logging, sys, warnings
from pathlib import Path
from tracer import cli, logs, progress
from tracer.lineage.step import run_step

def body(out):
    logging.getLogger("tracer.training").warning("a line\\nand another")
    logging.getLogger("httpx2").info("HTTP Request: POST http://localhost/mcp?key=secret")
    print("half a ", end="", file=sys.stderr)
    print("line", file=sys.stderr)
    warnings.warn("old")
    with progress.bar("states", 1) as bar:
        bar.advance(1, "done")
    return {}

def application():
    run_step("step", config={}, inputs={}, out=Path("out"), module="tracer.action", body=body)
    print("no end", end="", file=sys.stderr)
    raise ZeroDivisionError("a bug")

cli.application = lambda: lambda **_: application()
cli.main([])
"""


def lines(written: str) -> list[dict[str, Any]]:
    """Every line of a log, which has to be JSON of the same keys."""
    found = [json.loads(line) for line in written.splitlines()]
    assert all(set(each) - {"error"} == KEYS for each in found)
    return found


def run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TRACER_LOG": "json", **environment}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, encoding="utf-8")


def test_all_that_a_command_says_is_json_with_run_step_and_digest(tmp_path: Path) -> None:
    done = run([sys.executable, "-c", PROGRAM], tmp_path, TRACER_RUN_ID="run-7")
    assert (done.returncode, done.stdout) == (1, "")
    *meanwhile, bug, last = lines(done.stderr)
    digest = json.loads((tmp_path / "out" / "lineage.json").read_text(encoding="utf-8"))["digest"]
    assert {(each["run"], each["step"], each["digest"]) for each in meanwhile} == {("run-7", "step", digest[:12])}
    said = [(each["level"], each["message"]) for each in meanwhile]
    assert said[:2] == [("warning", "a line\nand another"), ("info", "half a line")]
    assert "UserWarning: old" in said[2][1] and said[-1] == ("info", "states: 1/1, done")
    assert (bug["level"], bug["step"]) == ("critical", "") and "ZeroDivisionError: a bug" in bug["error"]
    assert last["message"] == "no end"


def test_what_is_refused_is_an_error_of_the_log(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "tracer", "status", "--profile", "none"], tmp_path)
    (refusal,) = lines(done.stderr)
    assert done.returncode == 2 and refusal["level"] == "error" and refusal["message"].startswith("tracer: ")
    assert len(refusal["run"]) == 32


@pytest.mark.slow
def test_every_line_of_a_stage_is_json(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tracer", "train", "stage1", "--profile", "micro", "--set", f"build={tmp_path}"]
    done = run(command, root)
    assert done.returncode == 0, done.stderr
    found = lines(done.stderr)
    trained = [each for each in found if each["step"] == "stage1"]
    assert any(each["message"].startswith("step 2 of 2: reward") and each["digest"] for each in trained)


def test_a_command_that_dagster_starts_names_its_run(tmp_path: Path) -> None:
    context = dict.fromkeys(PipesContextData.__annotations__) | {"run_id": "8a1b", "retry_number": 0, "extras": {}}
    given = {
        "DAGSTER_PIPES_CONTEXT": encode_param({"data": context}),
        "DAGSTER_PIPES_MESSAGES": encode_param({"path": str(tmp_path / "messages")}),
    }
    program = f"import os; print(os.environ['{logs.RUN}'])"
    done = run([sys.executable, "-m", "pipelines.supervisor", "--", sys.executable, "-c", program], tmp_path, **given)
    assert (done.returncode, done.stdout) == (0, "8a1b\n"), done.stderr


def test_a_run_of_dagster_s_is_told_as_json_too(monkeypatch: pytest.MonkeyPatch) -> None:
    record = logging.makeLogRecord({"msg": "long", "levelname": "INFO", "name": "brief"})
    record.dagster_meta = {"step_key": "stage1", "orig_message": "short", "run_id": "8a1b"}
    monkeypatch.delenv(logs.SETTING, raising=False)
    monkeypatch.setenv(logs.RUN, "mine")
    assert Brief().format(record) == "stage1: short"
    assert Brief().format(logging.makeLogRecord({"msg": "own"})) == "run: own"
    monkeypatch.setenv(logs.SETTING, "json")
    (told,) = lines(Brief().format(record))
    assert (told["message"], told["step"], told["run"]) == ("short", "stage1", "8a1b")
    assert json.loads(Brief().format(logging.makeLogRecord({"msg": "own"})))["run"] == "mine"
    monkeypatch.setattr(sys, "stderr", logs.Printed(sys.stderr))  # which would make a line of each line
    (handler,) = brief.logger_fn(dg.build_init_logger_context()).handlers
    assert handler.stream is sys.__stderr__

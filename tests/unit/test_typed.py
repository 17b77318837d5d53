"""What people type: commands that lack something, find something done, or are given something broken."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tracer import flow
from tracer.cli import main
from tracer.cli.common import finished
from tracer.config import Config, load
from tracer.lineage.digest import tree_digest
from tracer.lineage.step import run_step
from tracer.settings import ConfigError
from tracer.training.grpo import headline
from tracer.training.watch import Heartbeat, Watch

ROOT = Path(__file__).parents[2]
LINE = '{"action": "click", "x": 500, "y": 500, "step": "click"}\n'


@pytest.mark.parametrize(("predicted", "code"), [(LINE, 0), (LINE + "and so on {", 0), (LINE + "{", 0),
                                                 ("{", 1), ("", 1), ("klick 4", 1)])  # fmt: skip
def test_a_forecast_of_which_nothing_parses_is_no_success(
    predicted: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "predicted").write_text(predicted, encoding="utf-8")
    (tmp_path / "done").write_text(LINE, encoding="utf-8")
    files = ["--predicted", str(tmp_path / "predicted"), "--reference", str(tmp_path / "done")]
    assert main(["reward", *files]) == code
    assert ("does not parse" in capsys.readouterr().out) == (code == 1 or predicted.endswith("\n{"))


def test_profiles_say_whether_they_register_and_micro_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profiles = ("micro", "demo", "tiny", "smollm2", "qwen3vl-8b", "qwen3vl-32b")
    registering = {name for name in profiles if load(name, path=ROOT / "params.yaml").registry.enabled}
    assert registering == set(profiles) - {"micro"}
    (tmp_path / "params.yaml").symlink_to(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    database = f"registry.tracking_uri=sqlite:///{tmp_path}/mlflow.db"
    for command in ("register", "promote"):
        (tmp_path / "build/micro/seed0").mkdir(parents=True, exist_ok=True)
        assert main([command, "--profile", "micro", "--set", database]) == 0
        assert "profile micro does not register" in capsys.readouterr().out
        step = flow.step(command)
        receipt = json.loads(step.out(load("micro")).read_text(encoding="utf-8"))
        assert "registry.enabled is false" in receipt["skipped"]
    assert not (tmp_path / "mlflow.db").exists()
    for command, missing in {
        "register": "tracer run --profile demo",
        "promote": "tracer register --profile demo",
    }.items():
        assert main([command, "--profile", "demo", "--set", database]) == 2
        assert missing in capsys.readouterr().err


def test_a_stage_that_was_not_trained_is_no_planner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build = ["--profile", "demo", "--seed", "7", "--set", f"build={tmp_path}"]
    for command in (["forecast", "stage1"], ["evaluate", "miniwob", "--protocol", "heldout", "--model", "stage1"]):
        assert main([*command, *build]) == 2
        assert "`tracer train stage1 --profile demo --seed 7` comes first" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_what_comes_first_is_made_where_it_is_missing_and_left_where_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ran: list[str] = []

    def steps(name: str) -> flow.FlowStep:
        def make(config: Config, at: Any, out: Path) -> dict[str, Any]:
            def body(folder: Path) -> dict[str, Any]:
                ran.append(name)
                return {"n": 1}

            return run_step(name, config={}, inputs={}, out=out, module="tracer.action", body=body)

        reads = {"ingest": (), "validate": ("ingest",), "stage1": ("ingest", "validate"), "gate-stage1": ("stage1",)}
        return replace(flow.step(name), make=make, reads=reads[name], require=lambda out: None)

    config = Config(profile="test", build=str(tmp_path))
    made = tuple(map(steps, ("ingest", "validate", "stage1", "gate-stage1")))
    monkeypatch.setattr(flow, "STEPS", made)
    flow.prepare(config, made[3])
    assert ran == ["ingest", "validate", "stage1"]
    assert "making ingest first: tracer ingest --profile test\n" in caplog.text
    flow.prepare(config, made[3])
    assert len(ran) == 3
    monkeypatch.setattr(flow, "STEPS", (*made[:3], replace(made[3], receipt="receipt.json")))
    (tmp_path / "test/seed0/stage1/lineage.json").unlink()
    with pytest.raises(ConfigError, match="comes after stage1, not made yet: `tracer run --profile test`"):
        flow.prepare(config, flow.STEPS[3])
    flow.prepare(config, flow.STEPS[3], given=["stage1"])


def test_a_base_planner_that_is_missing_is_named_before_any_work_with_what_brings_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, data = tmp_path / "bases" / "shop", tmp_path / "shop"
    own = ["--seed", "7"]
    for setting in (f"build={tmp_path}/build", f"planner.base={base}", f"data.path={data}", "data.pointer="):
        own += ["--set", setting]
    command = f"`tracer base tiny --profile micro --seed 7 --episodes {data}` builds it"
    for words in (["train", "stage1"], ["gate", "stage1"], ["evaluate", "online", "--model", "base"], ["run"]):
        assert main([*words, "--profile", "micro", *own]) == 2
        said = capsys.readouterr().err
        assert f"the base planner {base} does not exist: {command}" in said and "making" not in said
    assert main(["why", "validate", "--profile", "micro", *own]) == 0
    assert command in capsys.readouterr().out
    assert not (tmp_path / "build").exists()
    (base / "checkpoints").mkdir(parents=True)
    (base / ".started.json").write_text('{"digest": "0"}', encoding="utf-8")
    for words in (["plan"], ["train", "stage1"]):
        assert main([*words, "--profile", "micro", *own]) == 2
        assert f"{base} is unfinished: {command}" in capsys.readouterr().err
    assert main(["train", "stage1", "--dry-run", "--profile", "micro", *own]) == 0
    assert f"{base} is unfinished: {command}" in capsys.readouterr().out


def test_a_step_that_was_found_is_reused_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def step() -> dict[str, Any]:
        return run_step(
            "s", config={}, inputs={}, out=tmp_path / "out", module="tracer.action", body=lambda out: {"n": 1}
        )

    first = finished(step, tmp_path / "out")
    path = tmp_path / "out" / "lineage.json"
    lineage = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**lineage, "started": "2026-01-01T00:00:00+00:00", "seconds": 77}), encoding="utf-8")
    again = finished(step, tmp_path / "out")
    assert (first.data["reused"], again.data["reused"], again.data["seconds"]) == (False, True, 77)
    report = replace(flow.step("report"), make=lambda *_: step(), reads=(), require=lambda out: None)
    monkeypatch.setattr(flow, "STEPS", (report,))
    said: list[str] = []
    flow.run(Config(profile="test"), said.append)
    assert said[0].endswith("reused; it took 77 s")
    assert datetime.fromisoformat(lineage["started"]) <= datetime.now(UTC)


def test_the_headline_of_a_step_is_its_metrics_alone_and_changes_no_digest(tmp_path: Path) -> None:
    """For ``dvc metrics``, which shows every number of a file."""
    out = tmp_path / "out"
    lineage = run_step("s", config={}, inputs={}, out=out, module="tracer.action", body=lambda out: {"a": 1, "b": 0.5})
    assert json.loads((out / "metrics.json").read_text(encoding="utf-8")) == {"a": 1, "b": 0.5}
    (out / "metrics.json").unlink()
    assert tree_digest(out) == lineage["output"]


def test_the_log_says_one_line_a_step_with_what_matters(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stage = load("demo", path=ROOT / "params.yaml").stage1
    logs = {"reward": 0.51234, "dead_groups": 0.25, "unparsable": 0.0, "entropy": 1.5, "loss": 0.1, "grad_norm": 2.0,
            "completions/mean_length": 3.0,
            **{f"completions/{number}": 0.0 for number in range(30)}}  # fmt: skip
    with caplog.at_level(logging.INFO):
        state = SimpleNamespace(global_step=7, log_history=[logs])
        Watch("stage1", stage, Heartbeat(tmp_path, stage.steps)).on_log(None, state, None, logs=logs)
    assert caplog.messages == ["step 7 of 40: reward 0.512, dead groups 0.250, unparsable 0.000, entropy 1.500"]
    found = headline([logs, logs], stage)
    assert (found["reward_first"], found["tokens"]) == (0.51234, 2 * 3 * 16 * 8)

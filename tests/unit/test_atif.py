"""Episodes as ATIF documents, which the format's own models accept."""

import json

import pytest

from tests.traced import played
from tracer.evaluation.episodes import Episode
from tracer.evaluation.traces import TRACES
from tracer.lineage.digest import LineageError
from tracer.reporting.atif import export

EPISODES = [Episode(strategy="anticipatory", task="near", split="test", seed=seed) for seed in (9000, 9001)]


def test_the_formats_own_models_accept_what_is_written(tmp_path):
    atif = pytest.importorskip("atif", reason="the extra `dev` is not installed")
    run = tmp_path / "run"
    played(run / "online-base", EPISODES, lambda number: number == 0, goal="Click </script>")
    assert export([run], tmp_path / "out") == export([run / "online-base"], tmp_path / "again") == 2
    for number, seed in enumerate((9000, 9001)):
        path = tmp_path / "out" / f"online-base-anticipatory-near-{seed}.json"
        found = atif.Trajectory.model_validate_json(path.read_bytes())
        assert found.has_multimodal_content() and found.agent.model_name == "online-base"
        goal, first, *_, last = found.steps
        assert goal.message[0].text == "Click </script>"
        assert (tmp_path / "out" / goal.message[1].source.path).is_file()
        assert (tmp_path / "out" / first.observation.results[0].content[0].source.path).is_file()
        assert (first.message, first.tool_calls[0].function_name, first.metrics.completion_tokens) == (
            "answer",
            "click",
            7,
        )
        assert len(first.extra["forecast"]) == 3 and first.extra["prompt"]
        assert last.observation.results[0].content == ("solved", "unparsable: unknown action")[number]
        assert found.final_metrics.total_completion_tokens == 21
        assert found.final_metrics.extra["success"] == 1.0 - number


def test_a_turn_without_a_call_of_the_planner_has_no_metrics(tmp_path):
    atif = pytest.importorskip("atif", reason="the extra `dev` is not installed")
    out = played(tmp_path / "online-base", EPISODES[:1], lambda number: True)
    row = json.loads((out / TRACES).read_text(encoding="utf-8"))
    row["turns"][1] |= {"calls": 0, "tokens": 0, "answer": ""}
    (out / TRACES).write_text(json.dumps(row) + "\n", encoding="utf-8")
    export([out], tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.json")
    assert atif.Trajectory.model_validate_json(path.read_bytes()).steps[2].metrics is None


def test_without_a_trace_this_is_said(tmp_path):
    with pytest.raises(LineageError, match="contains no trace"):
        export([tmp_path], tmp_path / "out")

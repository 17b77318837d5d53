"""Online episodes in MLflow: a trace each, in the session of its task and seed, gone with a run that was killed."""

from __future__ import annotations

from pathlib import Path

from tests.folders import step
from tests.traced import played
from tracer.config import Config
from tracer.evaluation.episodes import Episode
from tracer.evaluation.traces import TRACES
from tracer.registry import step_runs, tracking
from tracer.registry.spans import MOST, choose

EPISODES = [Episode(strategy="anticipatory", task="near", split="test", seed=seed) for seed in (9000, 9001)]


def test_mlflow_shows_an_episode(tmp_path: Path) -> None:
    config = Config.model_validate(
        {"profile": "test", "data": {"pointer": ""}, "registry": {"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"}}
    )
    traced = played(tmp_path / "traced", EPISODES, lambda number: number == 0, goal="Click <b>")
    (tmp_path / "raw").mkdir()
    files = {path.relative_to(traced).as_posix(): path.read_bytes() for path in traced.rglob("*") if path.is_file()}
    out = step("online", config, tmp_path / "online-base", {"raw": tmp_path / "raw"}, files)
    client = tracking.connect(config.registry)
    run = step_runs.log_step(client, config, out)
    experiment = client.get_run(run).info.experiment_id
    found = {
        each.info.tags["mlflow.traceName"]: each for each in client.search_traces(locations=[experiment], run_id=run)
    }
    assert set(found) == {f"anticipatory/near/{seed}" for seed in (9000, 9001)}
    trace = found["anticipatory/near/9001"]
    assert trace.info.trace_metadata["mlflow.trace.session"] == "near/9001"
    assert (trace.info.state, trace.info.tags["planner"]) == ("ERROR", "online-base")
    spans = {span.name: span for span in trace.data.spans}
    root = spans["anticipatory/near/9001"]
    assert root.inputs["goal"] == "Click <b>" and root.outputs["reason"] == "unparsable: unknown action"
    turns = [span for span in trace.data.spans if span.parent_id == root.span_id]
    assert [span.name.partition(":")[0] for span in turns] == ["turn 1", "turn 2", "turn 3"]
    assert turns[0].inputs["forecast"][0] == 'click the button "One"' and turns[0].inputs["action"]["type"] == "click"
    answers = [span for span in trace.data.spans if span.span_type == "CHAT_MODEL"]
    assert {span.parent_id for span in answers} == {span.span_id for span in turns}
    content = answers[0].inputs["messages"][0]["content"]
    assert content[0]["text"] == "goal Click <b>"
    assert "image%2Fwebp" in content[1]["image_url"]["url"]  # MLflow has made an attachment of the picture
    assert answers[0].outputs["choices"][0]["message"]["content"] == "answer"
    client.update_run(run, status="RUNNING")  # as if it had been killed
    assert tracking.find_run(client, experiment, client.get_run(run).data.tags[tracking.DIGEST]) is None
    assert not client.search_traces(locations=[experiment], run_id=run)
    assert (out / TRACES).is_file()


def test_failures_and_successes_are_logged_in_equal_numbers_as_far_as_there_are_any() -> None:
    def count(failed: int, solved: int) -> tuple[int, int]:
        rows = [{"success": 0.0}] * failed + [{"success": 1.0}] * solved
        found = list(choose(rows))
        return sum(row["success"] == 0 for row in found), sum(row["success"] > 0 for row in found)

    assert count(1000, 1000) == (MOST // 2, MOST // 2)
    assert count(3, 2) == (3, 2)
    assert count(1000, 0)[0] in range(MOST - 1, MOST + 1) and count(0, 1000)[1] in range(MOST - 1, MOST + 1)
    assert count(2, 1000)[0] == 2

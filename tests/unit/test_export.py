"""Episodes for other viewers: ATIF's and Inspect's own models read them, Cua's folders have what its viewer reads."""

import io
import json
import os
import re
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from openai.types.responses import ResponseComputerToolCall, ResponseFunctionToolCall, ResponseOutputMessage
from PIL import Image

from tests.traced import played
from tracer.action import Action
from tracer.cli import evaluation
from tracer.evaluation.episodes import Episode
from tracer.evaluation.traces import TRACES
from tracer.json_files import DamagedFile
from tracer.lineage.digest import LineageError
from tracer.reporting import view
from tracer.reporting.cua import _action
from tracer.reporting.export import FORMATS, export
from tracer.settings import ConfigError

EPISODES = [Episode(strategy="anticipatory", task="near", split="test", seed=seed) for seed in (9000, 9001)]
GOAL = "Click </script>"
INSPECT = Path(__file__).parents[2] / "build" / "inspect"
"""Where the Makefile lays inspect_ai, whose requirements exclude our pin of fsspec."""


def run(tmp_path: Path, episodes: list[Episode] = EPISODES) -> Path:
    """A run in which the first episode is solved."""
    played(tmp_path / "run" / "online-base", episodes, lambda number: number == 0, goal=GOAL)
    return tmp_path / "run"


def edited(folder: Path, turn: int, **changes: Any) -> None:
    """Change a turn of the only episode that a folder has."""
    row = json.loads((folder / TRACES).read_text(encoding="utf-8"))
    row["turns"][turn] |= changes
    (folder / TRACES).write_text(json.dumps(row) + "\n", encoding="utf-8")


def test_the_command_offers_every_format():
    assert list(get_type_hints(evaluation.view)["format"]) == ["page", *FORMATS]


def test_atifs_own_models_accept_what_is_written(tmp_path):
    atif = pytest.importorskip("atif", reason="the extra `dev` is not installed")
    folder = run(tmp_path)
    assert export("atif", [folder], tmp_path / "out") == 2
    assert export("atif", [folder / "online-base"], tmp_path / "again") == 2
    for number, seed in enumerate((9000, 9001)):
        path = tmp_path / "out" / f"online-base-anticipatory-near-{seed}.json"
        found = atif.Trajectory.model_validate_json(path.read_bytes())
        assert found.has_multimodal_content() and found.agent.model_name == "online-base"
        goal, first, *_, last = found.steps
        assert goal.message[0].text == GOAL
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
    folder = run(tmp_path, EPISODES[:1])
    edited(folder / "online-base", 1, calls=0, tokens=0, answer="")
    export("atif", [folder], tmp_path / "out")
    (path,) = (tmp_path / "out").glob("*.json")
    assert atif.Trajectory.model_validate_json(path.read_bytes()).steps[2].metrics is None


READ = """
import json, sys
from inspect_ai.log import bundle_log_dir, list_eval_logs, read_eval_log, read_eval_log_sample_summaries
(info,) = list_eval_logs(sys.argv[1])
log = read_eval_log(info, resolve_attachments=True)
summaries = read_eval_log_sample_summaries(info)
bundle_log_dir(sys.argv[1], sys.argv[2])
print(json.dumps({
    "named": [info.task, info.task_id == log.eval.task_id],
    "log": log.model_dump(mode="json"),
    "summaries": [each.model_dump(mode="json") for each in summaries],
}))
"""


@pytest.mark.skipif(not INSPECT.is_dir(), reason="`make test` lays inspect_ai into build/inspect")
def test_inspect_reads_its_log_and_makes_a_site_of_it(tmp_path):
    again = Episode(strategy="anticipatory", task="near", split="test", seed=9000, run=1)
    assert export("inspect", [run(tmp_path, [*EPISODES, again])], tmp_path / "out") == 3
    (tmp_path / "read.py").write_text(READ, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "read.py", str(tmp_path / "out"), str(tmp_path / "site")],
        env={**os.environ, "PYTHONPATH": str(INSPECT), "INSPECT_DISPLAY": "none"},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    log = found["log"]
    assert found["named"] == ["anticipatory", True] and log["status"] == "success"
    assert (log["eval"]["model"], log["eval"]["solver"]) == ("online-base", "anticipatory")
    (score,) = log["results"]["scores"]
    assert score["metrics"]["accuracy"]["value"] == pytest.approx(1 / 3)
    samples = {(each["id"], each["epoch"]): each for each in log["samples"]}
    assert set(samples) == {("near-9000", 1), ("near-9000", 2), ("near-9001", 1)}
    solved, failed = samples["near-9000", 1], samples["near-9001", 1]
    assert (solved["input"], solved["scores"]["success"]["value"]) == (GOAL, "C")
    assert failed["scores"]["success"]["explanation"] == "unparsable: unknown action"
    assert [each["role"] for each in solved["messages"]] == ["user", "assistant", "tool"] * 3
    asked, answered, came = solved["messages"][:3]
    assert asked["content"][1]["image"].startswith("data:image/webp;base64,")
    assert answered["content"][0]["text"] == "answer"
    assert answered["content"][1]["image"].startswith("data:image/png;base64,")
    assert len(answered["metadata"]["forecast"]) == 3
    (call,) = answered["tool_calls"]
    assert (call["function"], call["arguments"]) == ("click", {"x": 0.25, "y": 0.25})
    assert (came["tool_call_id"], came["content"]) == (call["id"], "The screen changed.")
    assert failed["messages"][-1]["role"] == "assistant" and failed["messages"][-1]["metadata"]["error"]
    assert [each["completed"] for each in found["summaries"]] == [True] * 3
    assert (tmp_path / "site" / "index.html").is_file()
    assert [path.name for path in (tmp_path / "site" / "logs").glob("*.eval")] == [
        path.name for path in (tmp_path / "out").iterdir()
    ]


def test_a_sample_of_an_inspect_log_has_each_picture_once(tmp_path):
    export("inspect", [run(tmp_path, EPISODES[:1])], tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    with zipfile.ZipFile(path) as log:
        assert set(log.namelist()) == {"header.json", "summaries.json", "samples/near-9000_epoch_1.json"}
        text = log.read("samples/near-9000_epoch_1.json").decode()
    named = re.findall(r"attachment://([a-f0-9]{32})", text)
    assert len(set(named)) == 6 and set(named) == set(json.loads(text)["attachments"])
    assert text.count("data:image/") == len(set(named))


def viewed(trajectory: Path) -> list[tuple[Image.Image | None, dict[str, Any]]]:
    """What Cua's viewer takes from each folder of a trajectory: its first picture, and the agent's answer."""
    folders = sorted(trajectory.glob("turn_*"), key=lambda path: int(re.findall(r"\d+", path.name)[0]))
    found = []
    for folder in folders:
        pictures = [
            path for path in folder.iterdir() if path.name.endswith(("screenshot.png", "screenshot_action.png"))
        ]
        answers = [path for path in folder.iterdir() if path.name.endswith("_agent_response.json")]
        assert len(pictures) < 2 and len(answers) < 2, "which one the viewer shows is left to the browser"
        picture = Image.open(io.BytesIO(pictures[0].read_bytes())) if pictures else None
        found.append((picture, json.loads(answers[0].read_text(encoding="utf-8")) if answers else {}))
    return found


def test_cuas_viewer_finds_in_a_folder_what_it_shows(tmp_path):
    assert export("cua", [run(tmp_path)], tmp_path / "out") == 2
    solved, failed = sorted((tmp_path / "out").iterdir())
    first, answer, after, *_, end = viewed(solved)
    said, call = answer[1]["response"]["output"]
    assert ResponseOutputMessage.model_validate(said).content[0].text == "answer"
    assert answer[1]["model"] == "online-base" and len(answer[1]["tracer"]["forecast"]) == 3
    shown = answer[0].size
    assert first[0].size == after[0].size == (480, 630) and shown[0] == 480 and shown[1] > 630
    assert ResponseComputerToolCall.model_validate(call).action.model_dump(exclude_none=True) == {
        "type": "click", "button": "left", "x": 120, "y": 158,
    }  # fmt: skip
    # The first forecast step is marked there: no such blue is on the screen before.
    blue = (38, 96, 190)
    near = [answer[0].convert("RGB").getpixel((120 + dx, 158 + dy)) for dx in (-8, 8) for dy in (-4, 4)]
    assert all(max(abs(a - b) for a, b in zip(pixel, blue, strict=True)) < 12 for pixel in near)
    assert end[1]["model"] == "tracer" and "solved" in end[1]["response"]["output"][0]["content"][0]["text"]
    assert [output[0]["type"] for _, each in viewed(failed) if (output := each.get("response", {}).get("output"))]
    metadata = json.loads((solved / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["kwargs"]["messages"] == [{"role": "user", "content": GOAL}]
    assert metadata["total_turns"] == len(viewed(solved)) == 7 and metadata["tracer"]["reason"] == "solved"
    results = [each for each in metadata["new_items"] if each["type"] == "computer_call_output"]
    assert all((solved / each["output"]["image_url"]).is_file() for each in results[:-1])
    assert results[-1]["output"] == "solved"


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action.of("right_click", x=0.5, y=0.25), {"type": "click", "button": "right", "x": 500, "y": 50}),
        (Action.of("double_click", x=0.5, y=0.25), {"type": "double_click", "x": 500, "y": 50}),
        (Action.of("type", text="ü"), {"type": "type", "text": "ü"}),
        (Action.of("key", key="Control+A"), {"type": "keypress", "keys": ["Control", "A"]}),
        (Action.of("key", key="+"), {"type": "keypress", "keys": ["+"]}),
        # The finger moves up by a tenth of 200 pixels: what lies below comes.
        (Action.of("scroll", direction="up", amount=0.1),
         {"type": "scroll", "x": 500, "y": 100, "scroll_x": 0, "scroll_y": 20}),
        (Action.of("scroll", direction="right", x=0.1, y=0.1),
         {"type": "scroll", "x": 100, "y": 20, "scroll_x": -500, "scroll_y": 0}),
        (Action.of("drag", x=0.1, y=0.1, to_x=0.2, to_y=1.0),
         {"type": "drag", "path": [{"x": 100, "y": 20}, {"x": 200, "y": 200}],
          "start_x": 100, "start_y": 20, "end_x": 200, "end_y": 200}),
        (Action.of("wait", seconds=2), {"type": "wait", "seconds": 2.0}),
    ],
)  # fmt: skip
def test_an_action_is_one_of_the_responses_api_in_pixels(action, expected):
    found = _action(action.to_dict(), (1000, 200))
    assert found == expected
    call = {"id": "1", "call_id": "1", "status": "completed", "type": "computer_call", "pending_safety_checks": []}
    assert ResponseComputerToolCall.model_validate({**call, "action": found}).action.type == expected["type"]


def test_a_tool_call_is_a_function_call_with_its_outcome_and_without_a_screen(tmp_path):
    folder = run(tmp_path, EPISODES[:1])
    action = {"type": "tool_call", "name": "add", "arguments": {"a": 1}}
    edited(folder / "online-base", 2, action=action, screen=None)
    export("cua", [folder], tmp_path / "out")
    (trajectory,) = (tmp_path / "out").iterdir()
    picture, answer = viewed(trajectory)[5]
    call = answer["response"]["output"][1]
    assert picture is None and ResponseFunctionToolCall.model_validate(call).arguments == '{"a": 1}'
    result = json.loads(next((trajectory / "turn_006").glob("*_function_call_result.json")).read_text(encoding="utf-8"))
    assert result["result"] == [{"type": "function_call_output", "call_id": call["call_id"], "output": "solved"}]


def test_the_episodes_of_two_runs_do_not_get_in_each_others_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [played(Path(name, "online-base"), EPISODES[:1], bool).parent for name in ("demo/seed0", "tiny/seed0")]
    assert export("atif", [*folders, folders[0]], Path("out")) == 2
    assert {path.name for path in Path("out").iterdir()} == {"demo-seed0", "tiny-seed0"}


@pytest.mark.parametrize("write", [*(partial(export, each) for each in FORMATS), view.write])
def test_a_trace_that_is_damaged_or_leads_elsewhere_is_named(tmp_path, write):
    folder = played(tmp_path / "online-base", EPISODES[:1], bool)
    trace = folder / TRACES
    (line,) = trace.read_bytes().splitlines(keepends=True)
    trace.write_bytes(line + line[:50])  # an episode that is being written
    assert write([folder], tmp_path / "out") == 1
    (tmp_path / "secret").write_text("secret", encoding="utf-8")
    stolen = json.loads(line)
    stolen["turns"][0]["screen"] = "../../../secret"
    for number, wrong in enumerate((b"{}\n", b"[]\n", b"hello\n", json.dumps(stolen).encode() + b"\n")):
        trace.write_bytes(wrong)
        with pytest.raises(DamagedFile, match=r"traces\.jsonl is damaged"):
            write([folder], tmp_path / f"out{number}")
    assert sum(path.name == "secret" for path in tmp_path.rglob("*")) == 1


@pytest.mark.parametrize("format", FORMATS)
def test_without_a_trace_or_into_a_full_folder_nothing_is_written(tmp_path, format):
    with pytest.raises(ConfigError, match="contains no trace"):
        export(format, [tmp_path], tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    traced = run(tmp_path)
    for used in (tmp_path / "full", tmp_path / "full" / "mine"):
        with pytest.raises(LineageError, match="is no empty folder"):
            export(format, [traced], used)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine"]

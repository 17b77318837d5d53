"""Traces: every turn as it was, each screen once and small, whole lines after a kill."""

import errno
import io
import os
import random
import runpy
from pathlib import Path

import pytest
from PIL import Image

from tests.episodes import picture
from tests.forecasts import click, state
from tests.traced import played, turn, turns
from tracer import json_lines
from tracer.agents.agent import act_all
from tracer.agents.anticipatory import Anticipatory
from tracer.evaluation.episodes import Episode
from tracer.evaluation.traces import LARGE, SCREENS, TRACES, TraceLog, first_wrong, small
from tracer.planner.plan import Plan
from tracer.tools.elements import ElementLocator


def test_a_turn_is_kept_as_it_was(tmp_path):
    steps = (click("One"), click("Send", shown=()))
    TraceLog(tmp_path, screens=True).add({"id": "a", "success": 1.0}, [turn("Click", steps, 0, outcome="solved")])
    (row,) = json_lines.read(tmp_path / TRACES)
    assert (row["format"], row["id"], row["success"]) == ("tracer-trace/1", "a", 1.0)
    (kept,) = row["turns"]
    assert kept["answer"] == "answer" and kept["prompt"] == "goal Click"
    assert kept["forecast"][0] == {"instruction": steps[0].instruction, "action": steps[0].action.to_dict()}
    assert kept["forecast"][1]["action"] == {"type": "click"}
    assert (kept["chosen"], kept["step"], kept["action"]) == (0, steps[0].instruction, steps[0].action.to_dict())
    assert kept["note"] == ""
    assert (kept["outcome"], kept["calls"], kept["tokens"], kept["seconds"]) == ("solved", 1, 7, 0.25)
    assert (tmp_path / SCREENS / kept["screen"]).read_bytes() == small(picture("Click 0"))


def test_each_screen_is_kept_once_and_none_where_nobody_wants_them(tmp_path):
    same = [turn("Click", (click("One"),), 0), turn("Click", (click("Two"),), 0)]
    TraceLog(tmp_path / "with", screens=True).add({"id": "a"}, same)
    TraceLog(tmp_path / "without", screens=False).add({"id": "a"}, same)
    assert len(list((tmp_path / "with" / SCREENS).iterdir())) == 1
    assert not (tmp_path / "without" / SCREENS).exists()
    assert json_lines.read(tmp_path / "without" / TRACES)[0]["turns"][0]["screen"] is None


def test_a_screen_is_kept_whole_or_not_at_all(tmp_path, monkeypatch):
    """Under its digest it is never written again."""
    shown = turn("Click", (click("One"),), 0)

    def full_disk(file):
        os.truncate(file, 10)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space"):
            TraceLog(tmp_path, screens=True).add({"id": "a"}, [shown])
    TraceLog(tmp_path, screens=True).add({"id": "a"}, [shown])
    (row,) = json_lines.read(tmp_path / TRACES)
    assert (tmp_path / SCREENS / row["turns"][0]["screen"]).read_bytes() == small(picture("Click 0"))


def test_what_a_kill_tore_off_is_cut_and_the_rest_stays(tmp_path):
    TraceLog(tmp_path, screens=False).add({"id": "a"}, turns("Click", True))
    with open(tmp_path / TRACES, "ab") as file:
        file.write(b'{"id": "b", "tur')
    TraceLog(tmp_path, screens=False).add({"id": "b"}, turns("Click", False))
    assert [row["id"] for row in json_lines.read(tmp_path / TRACES)] == ["a", "b"]


def test_a_large_screen_becomes_a_small_picture():
    noise = Image.frombytes("RGB", (1920, 1080), random.Random(0).randbytes(1920 * 1080 * 3))
    buffer = io.BytesIO()
    noise.resize((192, 108)).resize((1920, 1080)).save(buffer, "PNG")
    assert len(buffer.getvalue()) > LARGE
    with Image.open(io.BytesIO(small(buffer.getvalue()))) as shown:
        assert (shown.format, shown.size) == ("WEBP", (1280, 720))
    assert len(small(buffer.getvalue())) < len(buffer.getvalue()) / 5
    with Image.open(io.BytesIO(small(picture("a")))) as shown:
        assert shown.format == "WEBP"


@pytest.mark.parametrize(("changed", "wrong"), [((True, True), 2), ((False, True), 1), ((True, False), 2)])
def test_a_failed_episode_went_wrong_where_nothing_changed_or_else_at_its_end(changed, wrong):
    found = [turn("Click", (click("One"),), number, changed=each) for number, each in enumerate(changed)]
    assert first_wrong(found) == wrong


def test_a_decision_carries_the_planners_last_answer():
    class Planner:
        name = "fixed"

        def forecast(self, states, horizon, attempt=0):
            return [Plan(text="b", forecast=(click("One"),)) if attempt else Plan(text="a", forecast=None)] * len(
                states
            )

    (decision,) = act_all([Anticipatory(ElementLocator(), 3, retries=1)], Planner(), [state()])
    assert decision.plan.text == "b" and decision.step == click("One")


def test_the_picture_of_the_readme_is_drawn_from_a_trace(tmp_path):
    draw = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "animation.py"))["frames"]
    episode = Episode(strategy="anticipatory", task="page", split="test", seed=1)
    folder = played(tmp_path / "online-stage2", [episode], lambda number: True)
    pages, shown = draw(folder, episode.id)
    assert len(pages) == len(shown) == 4 and len({page.size for page in pages}) == 1
    assert len({page.tobytes() for page in pages}) == 4, "each turn is another picture, and so is the end"

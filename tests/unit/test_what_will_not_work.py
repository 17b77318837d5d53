"""What training on data will not work is told before it is tried, by ``tracer ingest --check``, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.episodes import episode, sample, write_raw
from tracer.cli import main
from tracer.planner.settings import PlannerConfig
from tracer.sources import jsonl
from tracer.trajectory import Trajectory
from tracer.validation.lessons import MAX_ELEMENTS, Lessons


def told(
    folder: Path, episodes: list[dict[str, Any]], sees: tuple[int, int] | None = None, **planner: Any
) -> list[str]:
    lessons = Lessons(PlannerConfig(**planner), sees)
    for item in jsonl.read(write_raw(folder, episodes)):
        assert isinstance(item, Trajectory), item
        lessons.add(item)
    return lessons.warnings()


def changed(**step: Any) -> list[dict[str, Any]]:
    """The sample with every first step changed."""
    episodes = sample()
    for each in episodes:
        each["steps"][0] |= step
    return episodes


def many() -> list[dict[str, Any]]:
    box = [0.95, 0.95, 1.0, 1.0]
    others = [{"role": "a", "text": f"link {n}", "box": box, "value": "", "state": ""} for n in range(MAX_ELEMENTS)]
    episodes = sample()
    for each in episodes:
        for step in each["steps"]:
            step["elements"] = [*others, *step["elements"]]
    return episodes


def again() -> list[dict[str, Any]]:
    episodes = sample()
    for each in episodes:
        each["steps"][1] = {**each["steps"][0], "image": each["steps"][1]["image"]}
    return episodes


def test_good_data_has_nothing_to_tell(tmp_path: Path) -> None:
    assert told(tmp_path, sample(), (128, 128)) == []


@pytest.mark.parametrize(
    ("episodes", "settings", "says", "fix"),
    [
        (changed(elements=None), {}, "6 of 12 steps, the first step 0 of jsonl/click", "planner.grammar to literal"),
        (many(), {}, "12 of 12 steps", "smaller window"),
        (
            changed(action={"type": "drag", "x": 0.2, "y": 0.25, "to_x": 0.6, "to_y": 0.25}, instruction="drag it"),
            {}, "pointing cannot write it: action 'drag'", "leave these steps out",
        ),
        (sample(), {"sees": (32, 32)}, "160 x 210 is seen as 32 x 32", "planner.image=false"),
        (again(), {}, "6 of 12 steps", "type a text, scroll further"),
        (sample()[1:], {}, "few training episodes: click-two (2)", "at least 3 episodes"),
        ([episode("train", n) | {"goal": "Go."} for n in range(3)], {}, "have the goal 'Go.'", "name in each goal"),
    ],
)  # fmt: skip
def test_each_of_them_is_told_with_what_to_do(
    episodes: list[dict[str, Any]], settings: dict[str, Any], says: str, fix: str, tmp_path: Path
) -> None:
    found = told(tmp_path, episodes, **settings)
    assert any(says in each and fix in each for each in found), found


def test_a_grammar_that_writes_coordinates_needs_no_elements(tmp_path: Path) -> None:
    drag = {"type": "drag", "x": 0.2, "y": 0.25, "to_x": 0.6, "to_y": 0.25}
    assert told(tmp_path, changed(elements=None, action=drag, instruction="drag it"), grammar="literal") == []


def test_the_command_tells_it_and_does_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = write_raw(tmp_path / "raw", changed(elements=None))
    assert main(["ingest", "jsonl", str(raw), "--check", "--set", "planner.base=nowhere"]) == 0
    said = capsys.readouterr().out
    assert "training: 6 of 12 steps, the first step 0 of" in said and "not checked: whether screens" in said
    (tmp_path / "begun" / "checkpoints").mkdir(parents=True)  # a base that is being made
    assert main(["ingest", "jsonl", str(raw), "--check", "--set", f"planner.base={tmp_path / 'begun'}"]) == 0
    assert "not checked: whether screens are too large" in capsys.readouterr().out

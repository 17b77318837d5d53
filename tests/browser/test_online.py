"""The plan-act loop in a real Chromium, with a planner whose every forecast is known."""

import contextlib
import json
import os
import random
import re

import playwright.sync_api
import psutil
import pytest

from tracer import json_lines
from tracer.action import Action
from tracer.config import Config
from tracer.environments.browser import chromium
from tracer.environments.miniwob import MiniWob
from tracer.environments.miniwob_world import MiniWobWorld
from tracer.environments.pages import HELDOUT, RL
from tracer.evaluation import online
from tracer.evaluation.episodes import Episode, Unplayed
from tracer.evaluation.results import read_rows, read_scores
from tracer.evaluation.traces import SCREENS, TRACES
from tracer.forecast import ForecastStep
from tracer.instruction import describe
from tracer.json_files import write_json
from tracer.lineage.step import read_lineage
from tracer.planner.plan import Plan
from tracer.trajectory import centre

pytestmark = pytest.mark.browser
CONFIG = Config(profile="test", evaluation={"episodes": 1, "resamples": 50, "max_steps": 6})


class LoginPlanner:
    """Knows the page login-user by heart. Other pages: it says something that does not parse."""

    name = "login"

    def __init__(self):
        self.batches = []

    def forecast(self, states, horizon, attempt=0):
        self.batches.append((len(states), horizon))
        return [self.plan(state, horizon) for state in states]

    def plan(self, state, horizon):
        found = re.search(r'"(.*?)" and the password "(.*?)"', state.goal)
        if found is None:
            return Plan(text="klick", forecast=None, error="unknown action")
        steps = [
            self.click(state, "Username"), self.type(found[1]), self.click(state, "Password"), self.type(found[2]),
            self.click(state, "Login"),
        ]  # fmt: skip
        left = steps[len(state.history) :] or [self.click(state, "Login")]
        return Plan(text="known", forecast=tuple(left[:horizon]))

    def click(self, state, text):
        element = next(element for element in state.elements if element.text == text)
        action = Action.of("click", x=centre(element.box)[0], y=centre(element.box)[1])
        return ForecastStep(action=action, instruction=describe(action, element, state.elements))

    def type(self, text):
        action = Action.of("type", text=text)
        return ForecastStep(action=action, instruction=describe(action))


class Fixed(LoginPlanner):
    """Always the same step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def plan(self, state, horizon):
        return Plan(text="fixed", forecast=(self.step,) * horizon)


def episodes(*strategies, page="login-user", seeds=(9000, 9001)):
    return [Episode(strategy=strategy, task=page, split="test", seed=seed) for strategy in strategies for seed in seeds]


def play(planner, wanted, config=CONFIG):
    return {row["id"]: row for row, _ in online.play_all(config, wanted, planner)}


def test_every_strategy_solves_a_known_page_and_states_are_forecast_together():
    planner = LoginPlanner()
    ended = list(online.play_all(CONFIG, episodes(*CONFIG.evaluation.strategies), planner))
    rows, turns = {row["id"]: row for row, _ in ended}, {row["id"]: each for row, each in ended}
    assert len(rows) == 6
    assert {row["reason"] for row in rows.values()} == {"solved"}
    assert {row["steps"] for row in rows.values()} == {5}
    # In the first round the two forecasts of one step go together, and the four of five.
    assert planner.batches[:2] == [(2, 1), (4, 5)]
    # Blind episodes never ask again.
    assert planner.batches[2:] == [(2, 1), (2, 5)] * 4
    looped = turns["react/login-user/9000"]
    assert [turn.decision.action.type for turn in looped] == ["click", "type", "click", "type", "click"]
    assert [turn.state.history for turn in looped][:2] == [(), (looped[0].decision.step.instruction,)]
    assert [turn.outcome for turn in looped] == ["", "", "", "", "solved"] and all(turn.changed for turn in looped)
    assert turns["blind/login-user/9000"][1].decision.plan is None


class CopyingPlanner(LoginPlanner):
    """Knows the pages copy-paste by heart: what is pasted has to be this page's own text."""

    def plan(self, state, horizon):
        if "textarea" not in state.goal:
            return super().plan(state, horizon)
        key = [ForecastStep(action=Action.of("key", key=f"Control+{letter}"), instruction=letter) for letter in "acv"]
        roles = {element.role: element for element in state.elements}
        field, area = (self.aim(state, roles[role]) for role in ("input:text", "textarea"))
        steps = [area, key[0], key[1], field, key[2], self.click(state, "Submit")]
        return Plan(text="known", forecast=tuple(steps[len(state.history) :][:horizon]))

    def click(self, state, text):
        return self.aim(state, next(element for element in state.elements if element.text == text))

    def aim(self, state, element):
        x, y = centre(element.box)
        return ForecastStep(action=Action.of("click", x=x, y=y), instruction=describe(Action("click"), element))


@pytest.mark.parametrize("slots", [1, 12])
def test_the_outcome_does_not_depend_on_the_pages_in_flight(slots, monkeypatch):
    monkeypatch.setattr(online, "SLOTS", slots)
    wanted = [*episodes("anticipatory", page="copy-paste", seeds=range(9000, 9008)), *episodes("anticipatory", "react")]
    rows = play(CopyingPlanner(), wanted, CONFIG)
    assert {row["reason"] for row in rows.values()} == {"solved"}
    steps = {row["task"]: row["steps"] for row in rows.values()}
    assert [steps[page] for page in ("copy-paste", "login-user")] == [6, 5]


def test_episodes_end_for_a_reason():
    wanted = episodes("react", seeds=(9000,))
    answers = {
        "failed: no end after 6 steps": ("press Tab", Action.of("key", key="Tab")),
        "the tool agent 'elements'": ('click the button "zzzzzzzz"', Action("click")),
        "impossible: a MiniWoB++ page has no": ("open the app Mail", Action.of("open_app", app="Mail")),
        "impossible: there is no key 'Contro'": ("press Contro", Action.of("key", key="Contro")),
        "failed: the page says so": ('click the button "Login"', Action("click")),
    }
    ends = {
        reason: (Fixed(ForecastStep(action=action, instruction=instruction)), wanted)
        for reason, (instruction, action) in answers.items()
    }
    ends["unparsable"] = (LoginPlanner(), episodes("react", page="click-button", seeds=(9000,)))
    for reason, (planner, played) in ends.items():
        (row,) = play(planner, played).values()
        assert row["reason"].startswith(reason)
        assert row["success"] == 0 and row["first_wrong"] >= 1


class Killing(LoginPlanner):
    """Kills the browser, or a tab's process, when its ``when``-th forecasts are asked for, as often as ``times``."""

    def __init__(self, what, when=2, times=1):
        super().__init__()
        self.what, self.when, self.left = what, when, times

    def due(self):
        return len(self.batches) >= self.when

    def forecast(self, states, horizon, attempt=0):
        if self.left and self.due():
            self.left -= 1
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    kind = next((word for word in process.cmdline() if word.startswith("--type=")), "browser")
                    if "chrom" in process.name() and kind == self.what:
                        process.kill()
        return super().forecast(states, horizon)


@pytest.mark.parametrize("what", ["browser", "--type=renderer"])
def test_what_a_dead_browser_took_along_is_played_again(what, monkeypatch):
    monkeypatch.setattr(online, "SLOTS", 2)
    planner = Killing(what)
    rows = play(planner, episodes("react", seeds=(9000, 9001, 9002)))
    assert planner.left == 0
    assert len(rows) == 3
    assert {row["reason"] for row in rows.values()} == {"solved"}


class KillingAtRandom(Killing):
    """Kills the browser about every twenty episodes, which take five steps each, twelve at once."""

    def __init__(self, seed):
        super().__init__("browser", times=1000)
        self.drawn = random.Random(seed)

    def due(self):
        return self.drawn.random() < online.SLOTS / 5 / 20


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_of_500_episodes_none_is_lost_to_a_browser_killed_about_every_20():
    planner = KillingAtRandom(0)
    rows = play(planner, episodes("react", seeds=range(9000, 9500)))
    assert planner.left < 1000 - 15
    assert len(rows) == 500 and {row["reason"] for row in rows.values()} == {"solved"}


def test_episodes_that_no_browser_plays_to_an_end_are_no_scores_and_are_played_later(small, tmp_path, monkeypatch):
    """The pages fail for good after some episodes; a later run plays those that are left, and scores them all."""
    model, out = tmp_path / "model.json", tmp_path / "out"
    write_json(model, {})
    reset = MiniWob.reset_async

    async def failing(self, seed):
        if self.page == "click-button":
            raise playwright.sync_api.Error("Target page, context or browser has been closed\nand more")
        return await reset(self, seed)

    monkeypatch.setattr(MiniWob, "reset_async", failing)
    with pytest.raises(Unplayed, match="3 of 6 episodes have no result after 3 tries") as raised:
        online.evaluate(CONFIG, model, out)
    lines = str(raised.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [
        f"{name}/click-button/9000" for name in sorted(CONFIG.evaluation.strategies)
    ]
    assert all("Target page, context or browser has been closed" in line for line in lines)
    assert not (out / "lineage.json").exists() and not (out / "results.jsonl").exists()
    kept = (out / "checkpoints" / "results.jsonl").read_bytes()
    assert len(kept.splitlines()) == 3
    monkeypatch.setattr(MiniWob, "reset_async", reset)
    online.evaluate(CONFIG, model, out)
    assert (out / "checkpoints" / "results.jsonl").read_bytes().startswith(kept)
    assert {row["id"]: row["reason"].split(":")[0] for row in read_rows(out)} == {
        episode.id: "solved" if episode.task == "login-user" else "unparsable" for episode in online.episodes(CONFIG)
    }
    assert "crashed" not in (out / "scores.json").read_text(encoding="utf-8")


def test_a_browser_that_does_not_even_start_is_no_score(monkeypatch, tmp_path):
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(Unplayed, match="2 of 2 episodes have no result"):
        play(LoginPlanner(), episodes("react"))
    monkeypatch.undo()
    assert len(play(LoginPlanner(), episodes("react"))) == 2


def test_an_episode_that_hangs_is_no_score(monkeypatch):
    monkeypatch.setattr(MiniWobWorld, "seconds", 0.0)
    with pytest.raises(Unplayed, match="NoEnd: no end after 0 seconds"):
        play(LoginPlanner(), episodes("react"))


@pytest.fixture
def small(monkeypatch):
    """Two pages, and the planner that knows one of them."""
    planner = LoginPlanner()
    monkeypatch.setattr(MiniWobWorld, "tasks", {"test": ("login-user",), "heldout": ("click-button",)})
    monkeypatch.setattr(online.planners, "load", lambda where, constrain: planner)
    return planner


def test_the_step_writes_rows_scores_and_differences(small, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("none")
    lineage = online.evaluate(CONFIG, tmp_path / "model", tmp_path / "out")
    scores = read_scores(tmp_path / "out")
    assert lineage["metrics"]["anticipatory_test"] == 1 and lineage["metrics"]["anticipatory_heldout"] == 0
    assert scores["strategies"]["react"]["heldout"]["counts"]["unparsable"] == 1
    assert scores["differences"]["anticipatory-blind"]["test"]["mean"] == 0
    rows = read_rows(tmp_path / "out")
    assert [row["id"] for row in rows] == [episode.id for episode in online.episodes(CONFIG)]
    assert "seconds" not in json.dumps(rows)
    asked = len(small.batches)
    assert online.evaluate(CONFIG, tmp_path / "model", tmp_path / "out") == lineage
    assert len(small.batches) == asked


def test_identical_runs_stand_beside_the_score(small, tmp_path):
    evaluation = CONFIG.evaluation.model_copy(update={"online_repeats": 3, "strategies": ("react",)})
    online.run(CONFIG.model_copy(update={"evaluation": evaluation}), tmp_path, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    again = [json.loads(line) for line in (tmp_path / "repeats.jsonl").read_text().splitlines()]
    assert [row["run"] for row in rows] == [0, 0] and [row["run"] for row in again] == [1, 1, 2, 2]
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["runs"] == {"react": {"test": [1, 1, 1], "heldout": [0, 0, 0]}}
    assert scores["strategies"]["react"]["test"]["metrics"]["success"]["n"] == 1


def test_a_killed_run_plays_only_what_is_left(small, tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    online.run(CONFIG, tmp_path, whole)
    half = tmp_path / "half"
    (half / "checkpoints").mkdir(parents=True)
    lines = (whole / "checkpoints" / "results.jsonl").read_text().splitlines(keepends=True)
    (half / "checkpoints" / "results.jsonl").write_text("".join(lines[:4]) + lines[4][:40])
    online.run(CONFIG, tmp_path, half)
    traces = json_lines.read(half / TRACES)
    assert [trace["id"] for trace in traces] == [row["id"] for row in json_lines.read(whole / TRACES)][4:]
    assert all((half / SCREENS / turn["screen"]).is_file() for trace in traces for turn in trace["turns"])
    assert (half / "results.jsonl").read_bytes() == (whole / "results.jsonl").read_bytes()
    assert (half / "scores.json").read_bytes() == (whole / "scores.json").read_bytes()


def test_without_a_browser_the_step_says_so_and_runs_again_once_there_is_one(small, tmp_path, monkeypatch):
    write_json(tmp_path / "model.json", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    skipped = online.evaluate(CONFIG, tmp_path / "model.json", tmp_path / "out")
    assert "no Chromium on PATH" in read_scores(tmp_path / "out")["skipped"]
    monkeypatch.undo()
    assert chromium()[1] == ""
    off = Config(profile="test", evaluation={"online": False})
    other = online.evaluate(off, tmp_path / "model.json", tmp_path / "off")
    assert "evaluation.online is false" in other["metrics"]["skipped"]
    assert other["digest"] != skipped["digest"]


def test_every_strategy_meets_the_same_unseen_seeds():
    every = list(online.episodes(CONFIG))
    assert len(every) == 3 * (len(RL) + len(HELDOUT))
    assert {episode.seed for episode in every} == {9000}
    by_strategy = [{(e.task, e.seed) for e in every if e.strategy == name} for name in CONFIG.evaluation.strategies]
    assert by_strategy[0] == by_strategy[1] == by_strategy[2]


def test_a_planner_may_be_left_unplayed_and_the_others_stay_comparable(small, tmp_path):
    write_json(tmp_path / "model.json", {})
    evaluation = CONFIG.evaluation.model_copy(update={"unplayed": ("stage1",)})
    config = CONFIG.model_copy(update={"evaluation": evaluation})
    for planner in ("base", "stage1", "stage2"):
        online.evaluate(online.playing(config, planner), tmp_path / "model.json", tmp_path / planner)
    assert "evaluation.unplayed" in read_scores(tmp_path / "stage1")["skipped"]
    assert len(read_rows(tmp_path / "base")) == len(read_rows(tmp_path / "stage2")) == 6
    # A champion is evaluated again without a word about planners (registry/promotion.py).
    assert online.evaluate(config, tmp_path / "model.json", tmp_path / "base") == read_lineage(tmp_path / "base")

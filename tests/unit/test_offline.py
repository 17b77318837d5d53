"""Scores of forecasts whose worth is known by hand, and the step ``evaluate`` around them."""

import json

import pytest

from tests.forecasts import Oracle, click, elements, sample, shards, state, trajectory, typing
from tracer.config import Config
from tracer.evaluation import offline
from tracer.evaluation.results import difference, interval, paired, read_rows, read_scores
from tracer.evaluation.scoring import METRICS, correct, forecast_similarity, score
from tracer.forecast import reference
from tracer.lineage.digest import LineageError
from tracer.lineage.step import run_step
from tracer.planner.plan import Plan
from tracer.reward import RewardConfig
from tracer.statistics import mean_interval
from tracer.tools.elements import ElementLocator

REWARD = RewardConfig()
RADIUS = 0.04
CONFIG = Config(profile="test", planner={"horizon": 3}, evaluation={"resamples": 200})


def scored(*steps, seen=None, expected=None):
    plan = Plan(text="", forecast=tuple(steps)) if steps else Plan(text="?", forecast=None, error="no")
    truth = expected or reference(trajectory(1), 0, 3)
    executed = ElementLocator().ground(seen or state(), plan.forecast[0]) if plan.forecast else None
    return score(plan, executed, truth, REWARD, RADIUS)


def test_calibration_and_remaining_count_what_they_say():
    def row(trajectory, remaining, *right):
        return {
            "trajectory": trajectory, "split": "test", "remaining": remaining, "right": right, "step": float(right[0]),
            "similarity": 0.5, "prefix_share": 0.25,
        }  # fmt: skip

    rows = [row("a", 12, True, True, False), row("a", 2, True, False), row("b", 1, False), row("c", 2, True, True)]
    steps = offline.calibration(rows, 50)["test"]
    assert [(step["mean"], step["n"]) for step in steps] == [(0.75, 4), (0.666667, 3), (0.0, 1)]
    found = offline.by_remaining(rows, 50)["test"]
    assert {name: (block["step"]["mean"], block["step"]["n"]) for name, block in found.items()} == {
        "1 to 2": (0.666667, 3), "3 to 5": (None, 0), "6 to 10": (None, 0), "over 10": (1.0, 1),
    }  # fmt: skip


def test_the_reference_scores_full_marks():
    found = scored(*reference(trajectory(1), 0, 3))
    assert (found.parsed, found.type, found.grounding, found.grounding_own, found.step, found.step_own) == (1,) * 6
    assert (found.similarity, found.prefix, found.prefix_share) == (1, 3, 1)
    assert found.excess == 0


def test_an_answer_that_does_not_parse_is_wrong_and_repeats_nothing():
    found = scored()
    assert (found.parsed, found.type, found.grounding, found.step, found.similarity, found.prefix) == (0,) * 6
    assert found.repetition is None and found.excess is None


def test_similarity_is_discounted_and_divided_by_the_discounts_of_the_reference():
    truth = reference(trajectory(1), 0, 3)
    # Only the second step is right, the others are of another type: 0.9 / (1 + 0.9 + 0.81).
    forecast = (typing("a"), click("Two"), typing("b"))
    assert forecast_similarity(forecast, truth, REWARD) == pytest.approx(0.9 / 2.71)
    # A forecast that stops early earns what it said, one that goes on loses nothing.
    assert forecast_similarity(truth[:1], truth, REWARD) == pytest.approx(1 / 2.71)
    assert forecast_similarity((*truth, click("One")), truth, REWARD) == 1


def test_the_prefix_ends_at_the_first_wrong_step():
    found = scored(click("One"), click("One"), click("Send"))
    assert (found.prefix, found.prefix_share) == (1, pytest.approx(1 / 3))
    assert scored(click("Two"), click("Two"), click("Send")).prefix == 0


def test_a_named_target_is_right_by_its_words():
    truth = reference(trajectory(1), 0, 3)
    shown = elements("One", "Two")
    named = click("Send", shown)
    assert named.action.point is None
    assert correct((click("One"), click("Two"), named), truth, REWARD, RADIUS) == [True, True, True]
    assert correct((named,), truth, REWARD, RADIUS) == [False]


def test_the_tool_agent_and_the_own_coordinates_are_scored_apart():
    right_words = click("One")
    wrong_place = type(right_words)(action=right_words.action.at(0.95, 0.95), instruction=right_words.instruction)
    found = scored(wrong_place)
    assert (found.grounding, found.step) == (1, 1)
    assert (found.grounding_own, found.step_own) == (0, 0)


def test_grounding_is_not_scorable_for_a_step_without_a_place():
    found = scored(typing("karla"), expected=(typing("karla"),))
    assert found.grounding is None and found.grounding_own is None
    assert (found.step, found.type) == (1, 1)


def test_the_place_counts_whatever_the_action():
    double = click("One")
    double = type(double)(
        action=type(double.action)("double_click", double.action.arguments), instruction='double-click the button "One"'
    )
    found = scored(double)
    assert (found.grounding, found.grounding_own, found.type, found.step) == (1, 1, 0, 0)


def test_repetition_is_counted_beyond_the_references_own():
    looped = scored(click("One"), click("One"), click("One"))
    assert looped.repetition == pytest.approx(2 / 3)
    assert looped.excess == pytest.approx(2 / 3, abs=0.01)  # clicks far apart repeat next to nothing
    asked_for = (click("One"), click("One"), click("One"))
    excused = scored(*asked_for, expected=asked_for)
    assert excused.repetition == pytest.approx(2 / 3)
    assert excused.excess == 0


def evaluated(folder, data, oracle, config=CONFIG, splits=offline.SPLITS):
    run_step(
        "evaluate",
        config={"oracle": oracle.name},
        inputs={"trajectories": data},
        out=folder,
        module=offline.__name__,
        body=lambda out: offline.run(config, data, oracle, out, splits),
    )
    return folder


@pytest.fixture
def data(tmp_path):
    return shards(tmp_path / "trajectories", sample())


def test_an_oracle_scores_full_marks_on_every_split_and_task(tmp_path, data):
    scores = read_scores(evaluated(tmp_path / "out", data, Oracle(sample())))
    assert set(scores["splits"]) == {"test", "heldout"}
    heldout = scores["splits"]["heldout"]
    assert heldout["counts"] == {"states": 24, "trajectories": 8, "unparsable": 0, "with_place": 24, "not_grounded": 0}
    assert set(heldout["tasks"]) == {"far", "farther"}
    for block in (heldout, heldout["tasks"]["far"], scores["splits"]["test"]):
        assert set(block["metrics"]) == set(METRICS)
        for name in ("step", "grounding", "similarity", "prefix_share", "parsed"):
            assert block["metrics"][name] == {
                "mean": 1.0, "low": 1.0, "high": 1.0, "n": block["counts"]["states"],
                "clusters": block["counts"]["trajectories"],
            }  # fmt: skip


def test_rows_say_what_was_asked_answered_and_done(tmp_path, data):
    rows = read_rows(evaluated(tmp_path / "out", data, Oracle(sample(), parsed=0.5)))
    assert len(rows) == 36
    assert len({(row["trajectory"], row["step_index"]) for row in rows}) == 36
    unparsable = [row for row in rows if not row["parsed"]]
    assert unparsable and all(
        row["error"] and row["text"] == "klick 4" and row["executed"] is None for row in unparsable
    )
    right = next(row for row in rows if row["step_index"] == 0 and row["parsed"])
    assert len(right["text"].splitlines()) == 3 and right["forecast"] == right["reference"]
    assert right["executed"]["type"] == "click"
    assert right["reference"] == ['click the button "One"', 'click the button "Two"', 'click the button "Send"']


def test_a_split_may_be_named(tmp_path, data):
    scores = read_scores(evaluated(tmp_path / "out", data, Oracle(sample()), splits=("test",)))
    assert set(scores["splits"]) == {"test"}


def test_states_are_drawn_with_the_seed(tmp_path, data):
    first = offline.sample(data, "heldout", 10, seed=1)
    assert first == offline.sample(data, "heldout", 10, seed=1)
    assert len(set(first)) == 10
    assert first != offline.sample(data, "heldout", 10, seed=2)
    assert len(offline.sample(data, "heldout", None, seed=1)) == len(offline.sample(data, "heldout", 99, seed=1)) == 24


def test_the_same_evaluation_writes_the_same_bytes(tmp_path, data):
    oracle = Oracle(sample(), right=0.6, parsed=0.9)
    first, second = (evaluated(tmp_path / name, data, oracle) for name in ("first", "second"))
    for name in ("results.jsonl", "scores.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


class Killed(RuntimeError):
    pass


def test_a_killed_evaluation_goes_on_where_it_stopped(tmp_path, data, monkeypatch):
    monkeypatch.setattr(offline, "CHUNK", 10)
    whole = evaluated(tmp_path / "whole", data, Oracle(sample(), right=0.7))
    patient, hasty = Oracle(sample(), right=0.7), Oracle(sample(), right=0.7)
    answer = hasty.forecast

    def interrupted(states, horizon):
        if len(hasty.batches) == 2:
            raise Killed
        return answer(states, horizon)

    hasty.forecast = interrupted
    with pytest.raises(Killed):
        evaluated(tmp_path / "out", data, hasty)
    # Half a line, and lines of an unfinished chunk, are no result.
    with open(tmp_path / "out" / "checkpoints" / "results.jsonl", "a") as progress:
        progress.write('{"trajectory": "x"}\n{"traj')
    resumed = evaluated(tmp_path / "out", data, patient)
    assert patient.batches == [10, 6]
    assert (resumed / "results.jsonl").read_bytes() == (whole / "results.jsonl").read_bytes()


def test_differences_are_paired_by_state_and_clustered_by_trajectory(tmp_path, data):
    worse = read_rows(evaluated(tmp_path / "worse", data, Oracle(sample(), right=0.4)))
    better = read_rows(evaluated(tmp_path / "better", data, Oracle(sample())))
    apart = difference(better, list(reversed(worse)), "step", 300)
    assert apart.mean == pytest.approx(1 - sum(row["step"] for row in worse) / len(worse))
    assert (apart.n, apart.clusters) == (36, 12)
    assert apart.excludes_zero
    assert difference(better, better, "similarity", 300).mean == 0
    with pytest.raises(LineageError, match="different cases"):
        paired(better, worse[1:], "step")


def test_what_is_not_scorable_is_left_out_of_the_mean(tmp_path, data):
    rows = read_rows(evaluated(tmp_path / "out", data, Oracle(sample(), right=0.5, parsed=0.5)))
    scorable = [row for row in rows if row["repetition"] is not None]
    assert 0 < len(scorable) < len(rows)
    expected = mean_interval([r["repetition"] for r in scorable], [r["trajectory"] for r in scorable], resamples=100)
    assert interval(rows, "repetition", 100) == expected
    assert json.loads(json.dumps(expected.to_dict()))["n"] == len(scorable)

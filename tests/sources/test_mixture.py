"""The mixture: weights, caps, filters, a held-out share; the same seed, the same mixture."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.sources.collect import data
from tests.sources.writers import agentnet, android_control, gui_odyssey
from tests.strategies import patient
from tracer import dataset
from tracer.action import Action
from tracer.config import Config
from tracer.ingestion.filters import reason_against, redundant_steps
from tracer.ingestion.ingest import ingest, ingest_source
from tracer.ingestion.mixture import MixtureError, mix
from tracer.ingestion.settings import MixtureConfig
from tracer.lineage.digest import LineageError
from tracer.settings import ConfigError
from tracer.trajectory import Step, Trajectory


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """Forty trajectories of AgentNet, six of AndroidControl (three of them train), three of GUI-Odyssey (two)."""
    folder = tmp_path_factory.mktemp("ingested")
    raw = folder / "raw"
    raw.mkdir()
    lines = [agentnet.line(f"t{number}", agentnet.CODES[: 1 + number % 4], domain="os") for number in range(40)]
    lines[7]["task_completed"] = False
    lines[8]["task_completed"] = None
    agentnet.write_lines(raw / agentnet.UBUNTU, lines)
    ingest_source(data("agentnet", raw, images=False), folder / "agentnet")
    ingest_source(data("android_control", android_control.write(folder / "ac")), folder / "android_control")
    ingest_source(data("gui_odyssey", gui_odyssey.write(folder / "ody")), folder / "gui_odyssey")
    return folder


def config(folder, seed=0, **sources):
    settings = {name: {"folder": str(folder / name), **values} for name, values in sources.items() if name in NAMES}
    rest = {key: value for key, value in sources.items() if key not in NAMES}
    return MixtureConfig.model_validate({"sources": settings, "seed": seed, **rest})


NAMES = ("agentnet", "android_control", "gui_odyssey")


def ids(folder, split=None):
    return [each.id for each in dataset.read(folder, split)]


def test_weights_decide_the_shares_and_the_scarcest_the_size(ingested, tmp_path):
    mix(config(ingested, agentnet={"weight": 4}, android_control={"weight": 1}), tmp_path / "out")
    train = ids(tmp_path / "out", "train")
    assert sum(id.startswith("android_control") for id in train) == 3
    assert sum(id.startswith("agentnet") for id in train) == 12
    # The official test episodes are all there.
    assert sorted(ids(tmp_path / "out", "test")) == ["android_control/5", "android_control/6"]


def test_a_cap_decides_sooner_and_all_takes_everything(ingested, tmp_path):
    mix(config(ingested, agentnet={"cap": 1}, android_control={}), tmp_path / "capped")
    assert len(ids(tmp_path / "capped", "train")) == 2
    mix(config(ingested, agentnet={}, android_control={}, balance="all"), tmp_path / "all")
    assert len(ids(tmp_path / "all", "train")) == 39 + 3  # one had failed


def test_held_out_follows_the_seed_and_overlaps_nothing(ingested, tmp_path):
    for seed, out in ((0, "a"), (0, "b"), (1, "c")):
        mix(config(ingested, seed=seed, agentnet={"held_out": 0.3}), tmp_path / out)
    held = {out: set(ids(tmp_path / out, "heldout")) for out in "abc"}
    assert 4 <= len(held["a"]) <= 20
    assert held["a"] == held["b"] != held["c"]
    assert not held["a"] & set(ids(tmp_path / "a", "train"))


def test_another_source_changes_nothing_for_the_first(ingested, tmp_path):
    one = config(ingested, agentnet={"held_out": 0.3}, balance="all")
    two = config(ingested, agentnet={"held_out": 0.3}, gui_odyssey={}, balance="all")
    mix(one, tmp_path / "one")
    mix(two, tmp_path / "two")
    assert ids(tmp_path / "one") == [id for id in ids(tmp_path / "two") if id.startswith("agentnet")]


def test_a_mixture_has_its_own_digest_and_the_same_bytes_twice(ingested, tmp_path):
    first = mix(config(ingested, agentnet={}, android_control={}), tmp_path / "one")
    second = mix(config(ingested, agentnet={}, android_control={}), tmp_path / "two")
    other = mix(config(ingested, agentnet={"weight": 2}, android_control={}), tmp_path / "three")
    assert first["output"] == second["output"]
    assert first["digest"] == second["digest"] != other["digest"]
    assert first["inputs"]["agentnet"]["digest"]


def test_filters_are_counted(ingested, tmp_path):
    mix(config(ingested, agentnet={}, unknown_outcome=False, min_steps=2, max_steps=3), tmp_path / "out")
    lengths = {len(each.steps) for each in dataset.read(tmp_path / "out")}
    assert lengths == {2, 3}
    left_out = json.loads((tmp_path / "out/stats.json").read_text())["mixture"]["agentnet"]["left out"]
    assert left_out == {"failed": 1, "outcome unknown": 1, "too short": 9, "too long": 9}


def test_filters_that_leave_nothing_say_so(ingested, tmp_path):
    with pytest.raises(MixtureError, match=r"agentnet.*too short.*loosen"):
        mix(config(ingested, agentnet={}, min_steps=99), tmp_path / "out")
    with pytest.raises(ConfigError, match="sources is empty"):
        mix(MixtureConfig(), tmp_path / "none")


def test_a_folder_that_is_not_ingested_is_refused(tmp_path):
    with pytest.raises(LineageError):
        mix(config(tmp_path, agentnet={}), tmp_path / "out")


def test_a_profile_with_a_mixture_trains_on_it(ingested, tmp_path):
    profile = Config(profile="test", mixture=config(ingested, agentnet={}, gui_odyssey={}))
    done = ingest(profile, tmp_path / "out")
    assert done["step"] == "mixture"
    assert {id.split("/")[0] for id in ids(tmp_path / "out", "train")} == {"agentnet", "gui_odyssey"}


def test_a_profile_ingests_a_published_source_with_its_options(tmp_path):
    agentnet.write(tmp_path / "raw")
    data = {"source": "agentnet", "path": str(tmp_path / "raw"), "pointer": "", "options": {"images": False}}
    done = ingest(Config(profile="test", data=data), tmp_path / "out")
    assert done["metrics"]["trajectories"] == 5
    assert not list((tmp_path / "out").glob(".parts"))
    # How many worked at it makes no other data.
    assert ingest(Config(profile="test", data={**data, "workers": 2}), tmp_path / "out") == done
    limited = ingest(Config(profile="test", data={**data, "limit": 1}), tmp_path / "limited")
    assert limited["metrics"]["trajectories"] == 4  # one per task


@pytest.mark.parametrize(
    "settings",
    [{"sources": {"a": {"folder": "x", "weight": 0}}}, {"sources": {"a": {"folder": "x", "colour": 1}}},
     {"min_steps": 5, "max_steps": 2}, {"sources": {"a": {}}}, {"sources": {"a": {"folder": "x", "held_out": 1}}}],
)  # fmt: skip
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        MixtureConfig.model_validate(settings)


def made(*pairs):
    steps = tuple(Step(action=action, instruction="x", image=image) for action, image in pairs)
    return Trajectory(id="x/1", source="x", split="train", task="t", goal="g", steps=steps)


CLICK, OTHER, WAIT = Action.of("click", x=0.5, y=0.5), Action.of("click", x=0.1, y=0.5), Action.of("wait")


@pytest.mark.parametrize(
    ("pairs", "count"),
    [
        ([(CLICK, b"a"), (CLICK, b"a")], 1),
        ([(CLICK, b"a"), (CLICK, b"b")], 0),  # the screen changed: a button pressed twice
        ([(CLICK, b"a"), (OTHER, b"a")], 0),
        ([(WAIT, b"a"), (WAIT, b"a")], 0),
        ([(CLICK, b"a"), (CLICK, b"a"), (CLICK, b"a")], 2),
    ],
)
def test_redundant_steps(pairs, count):
    trajectory = made(*pairs)
    assert redundant_steps(trajectory) == count
    reason = reason_against(trajectory, MixtureConfig(no_redundant_steps=True))
    assert reason == ("redundant steps" if count else None)


@patient
@given(st.sampled_from(("success", "failure", "unknown")), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_a_filter_leaves_what_it_names_and_nothing_else(outcome, length, least, most):
    trajectory = dataclasses.replace(made(*[(WAIT, None)] * length), outcome=outcome)
    settings = MixtureConfig(min_steps=min(least, most), max_steps=max(least, most))
    kept = reason_against(trajectory, settings) is None
    assert kept == (outcome != "failure" and settings.min_steps <= length <= max(least, most))

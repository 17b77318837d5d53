"""Each adapter reads what an independent writer wrote in the published format, every quirk of it included."""

import json

import pytest

from tests.sources.collect import collected, types
from tests.sources.writers import agentnet, agenttrek, android_control, gui_odyssey, mind2web, mm_traj, split_zip
from tracer.sources.source import SourceError
from tracer.sources.source import source as adapter

# --- AgentNet -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [True, False])
def test_agentnet_counts_and_fields(tmp_path, split):
    found, rejected = collected("agentnet", agentnet.write(tmp_path, split=split))
    assert not rejected
    assert [len(each.steps) for each in found] == [10, 3, 10, 2, 1]
    first = found[0]
    assert (first.split, first.task, first.goal, first.outcome) == ("train", "os", "Save the file of u1", "success")
    assert (first.steps[0].width, first.steps[0].height) == (96, 54)  # read from the picture: no record says it
    assert first.steps[0].instruction == "Do step 0"


def test_agentnet_one_step_of_two_calls(tmp_path):
    found, _ = collected("agentnet", agentnet.write(tmp_path))
    steps = found[0].steps
    assert types(found[0])[:4] == ["click", "drag", "scroll", "type"]
    assert dict(steps[1].action.arguments) == {"x": 0.5, "y": 0.25, "to_x": 0.75, "to_y": 0.25}
    assert dict(steps[2].action.arguments) == {"direction": "up", "x": 0.4, "y": 0.6, "amount": 5.0}
    # press(keys=[...]) is two keys on one screen
    assert [steps[5].action.get("key"), steps[6].action.get("key")] == ["Tab", "Enter"]
    assert steps[5].image == steps[6].image


def test_agentnet_outcomes_tasks_and_repeated_ids(tmp_path):
    found, _ = collected("agentnet", agentnet.write(tmp_path))
    assert [each.outcome for each in found] == ["success", "unknown", "success", "failure", "success"]
    assert [each.task for each in found] == ["os", "infeasible", "Excel", "Excel", "Darwin"]
    assert found[2].id != found[3].id
    assert found[2].id.startswith("agentnet/w1/")


def test_agentnet_without_the_meta_data_or_pictures(tmp_path):
    agentnet.write(tmp_path)
    (tmp_path / "meta_data_merged.jsonl").unlink()
    found, _ = collected("agentnet", tmp_path, images=False)
    assert [each.task for each in found] == ["os", "infeasible", "agentnet", "agentnet", "agentnet"]
    assert all(step.image is None and step.width == 0 for each in found for step in each.steps)


def test_agentnet_other_goal_and_labels(tmp_path):
    line = agentnet.line("u1", agentnet.CODES[:3])
    line["traj"][1]["value"]["last_step_redundant"] = True
    line["traj"][2]["value"]["last_step_correct"] = False
    agentnet.write(tmp_path, ubuntu=[line], windows=[])
    (tmp_path / agentnet.WINDOWS).unlink()
    kept, _ = collected("agentnet", tmp_path, goal="natural_language_task")
    assert kept[0].goal == "Please save u1"
    assert len(kept[0].steps) == 3
    clean, _ = collected("agentnet", tmp_path, labels=True)
    assert types(clean[0]) == ["click"]


def test_agentnet_unpacked_pictures(tmp_path):
    agentnet.write(tmp_path)
    whole, _ = collected("agentnet", tmp_path)
    for group, name in (("ubuntu_images", agentnet.UBUNTU), ("win_mac_images", agentnet.WINDOWS)):
        for part in (tmp_path / group).iterdir():
            part.unlink()
        lines = [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for picture, data in agentnet.pictures_of(lines).items():
            (tmp_path / group / picture).write_bytes(data)
    adapter_store_cleared()
    unpacked, rejected = collected("agentnet", tmp_path)
    assert not rejected
    assert unpacked == whole


def adapter_store_cleared():
    """A new process would open the folder again; within one, the store of a folder is kept."""
    from tracer.sources.store import store

    store.cache_clear()


def test_agentnet_byte_ranges_hold_every_line_once(tmp_path):
    from tracer.sources import large_json

    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(b"%d:" % n + b"x" * (n % 7) for n in range(100)) + b"\n\n")
    whole = [line.data for line in large_json.lines(path)]
    assert len(whole) == 100
    for size in (1, 3, 10, 64, 10_000):
        found = [
            line for number in range(large_json.ranges(path, size)) for line in large_json.lines(path, number, size)
        ]
        assert [line.data for line in found] == whole
    assert [large_json.row_of(path, line) for line in large_json.lines(path)] == list(range(1, 101))


# --- AndroidControl -------------------------------------------------------------------------------------------------


def test_android_control_counts_splits_and_subsplits(tmp_path):
    found, rejected = collected("android_control", android_control.write(tmp_path))
    assert [(each.id, each.split, each.task) for each in found] == [
        ("android_control/0", "train", "android_control"),
        ("android_control/4", "validation", "android_control"),
        ("android_control/1", "train", "android_control"),
        ("android_control/5", "test", "IDD"),  # in two sub-splits: the first in the file's order
        ("android_control/2", "train", "android_control"),
        ("android_control/6", "test", "app_unseen"),
    ]
    assert [(each.reason, each.id) for each in rejected] == [("no actions", "android_control/3")]


def test_android_control_actions_and_derived_targets(tmp_path):
    found, _ = collected("android_control", android_control.write(tmp_path))
    steps = found[0].steps
    assert types(found[0]) == [
        "open_app", "click", "scroll", "type", "long_press", "navigate_back", "navigate_home", "wait",
    ]  # fmt: skip
    assert steps[1].action.point == (30 / 108, 30 / 240)
    # The smallest node at the point is the button, not the clickable layout around it.
    assert steps[1].target == (10 / 108, 20 / 240, 60 / 108, 40 / 240)
    assert steps[3].target is None
    assert steps[2].action.get("direction") == "up"
    assert "terminate" not in types(found[0])  # the data set has none, and none is made up


def test_android_control_elements(tmp_path):
    found, _ = collected("android_control", android_control.write(tmp_path))
    elements = found[0].steps[0].elements
    assert elements is not None
    assert [(each.role, each.text, each.value) for each in elements] == [
        ("button", "Save", ""),
        ("linearlayout", "", ""),
        ("edittext", "Title", "draft"),
    ]
    without, _ = collected("android_control", tmp_path, elements=False)
    assert without[0].steps[1].elements is None
    assert without[0].steps[1].target is None


def test_android_control_of_the_earlier_release(tmp_path):
    android_control.write_splits(tmp_path, [0], [], [])
    episode = android_control.episode(0, [{"action_type": "type", "x": 54, "y": 110, "text": "milk"}])
    record = android_control.record(android_control.example(episode))
    android_control.write_shard(tmp_path / "android_control-00000-of-00001", [record], compressed=False)
    found, _ = collected("android_control", tmp_path)
    assert types(found[0]) == ["type", "key"]
    assert found[0].steps[1].action.get("key") == "Enter"


def test_android_control_without_subsplits(tmp_path):
    android_control.write(tmp_path)
    (tmp_path / "test_subsplits.json").unlink()
    found, _ = collected("android_control", tmp_path)
    assert {each.task for each in found} == {"android_control"}


# --- GUI-Odyssey ----------------------------------------------------------------------------------------------------


def test_gui_odyssey_v2(tmp_path):
    found, rejected = collected("gui_odyssey", gui_odyssey.write(tmp_path))
    assert not rejected
    assert [(each.id, each.split, each.outcome) for each in found] == [
        ("gui_odyssey/01", "train", "success"),
        ("gui_odyssey/02", "train", "success"),
        ("gui_odyssey/03", "test", "failure"),
    ]
    steps = found[0].steps
    assert (found[0].task, found[0].goal) == ("Multi_Apps", "Note the milk, 01")
    assert (steps[1].action.point, steps[1].target) == ((0.5, 0.12), (0.45, 0.1, 0.55, 0.14))
    assert steps[1].instruction == "do 1"
    assert steps[5].action.get("text") == "milk: two"  # not cut at the colon
    assert steps[3].target is None


def test_gui_odyssey_other_official_split(tmp_path):
    found, _ = collected("gui_odyssey", gui_odyssey.write(tmp_path), split="app")
    assert [each.split for each in found] == ["test", "test", "train"]


@pytest.mark.parametrize("archived", [True, False])
def test_gui_odyssey_v1(tmp_path, archived):
    found, rejected = collected("gui_odyssey", gui_odyssey.write_v1(tmp_path, archived))
    assert not rejected
    assert [len(each.steps) for each in found] == [9, 9, 9]
    assert found[0].steps[1].target is None
    assert found[0].steps[1].instruction == "click at (500, 120)"


def test_gui_odyssey_parts_hold_every_episode_once(tmp_path, monkeypatch):
    gui_odyssey.write(tmp_path)
    module = adapter("gui_odyssey")
    monkeypatch.setattr(module, "PART_EPISODES", 2)
    names = module.parts(tmp_path)
    assert names == ["episodes@00000", "episodes@00001"]
    found = [each.id for part in names for each in module.read(tmp_path, part)]
    assert found == ["gui_odyssey/01", "gui_odyssey/02", "gui_odyssey/03"]


# --- Multimodal-Mind2Web --------------------------------------------------------------------------------------------


def test_mind2web_counts_splits_and_order(tmp_path):
    found, rejected = collected("mind2web", mind2web.write(tmp_path))
    assert not rejected
    assert {each.id: (each.split, each.task, len(each.steps)) for each in found} == {
        "mind2web/train/t1": ("train", "united", 3),
        "mind2web/train/t2": ("train", "united", 3),  # its rows lie in two files
        "mind2web/train/t3": ("train", "united", 3),
        "mind2web/test_task/q1": ("test", "test_task", 3),
        "mind2web/test_website/q1": ("test", "test_website", 3),
        "mind2web/test_domain/q1": ("test", "test_domain", 3),
    }
    assert all(types(each) == ["click", "type", "select"] for each in found)


def test_mind2web_target_is_the_outermost_box_and_the_point_the_originals_centre(tmp_path):
    found, _ = collected("mind2web", mind2web.write(tmp_path))
    step = found[0].steps[0]
    assert step.target == (16 / 128, 80 / 400, 80 / 128, 120 / 400)
    assert step.action.point == (40 / 128, 100 / 400)
    assert step.instruction == 'click the button "Search"'
    assert found[0].steps[1].instruction == 'type "Boston" in the textbox "From"'
    assert found[0].outcome == "unknown"


def test_mind2web_candidates_as_elements(tmp_path):
    found, _ = collected("mind2web", mind2web.write(tmp_path), elements=True)
    elements = found[0].steps[0].elements
    assert elements is not None
    # From top to bottom: the order of publication, positives first, would give the answer away.
    assert [(each.role, each.text) for each in elements] == [("a", "Home"), ("div", ""), ("button", "")]


@pytest.mark.parametrize(
    ("fields", "reason", "kept"),
    [
        ([{}, {}, {}], None, 3),
        ([{}, None, {}], "missing step", 1),
        ([{}, {}, None], "missing step", 2),
        ([None, {}, {}], "missing step", 0),
        ([{}, {"screenshot": None}, {}], "no screenshot", 1),
        ([{}, {}, {"target_action_index": "1"}], "duplicate step", 1),
        ([{}, {}, {"target_action_index": "9"}], "missing step", 2),
        ([{}, {}, {}, {"target_action_index": "x"}], "wrong field", 3),
        ([{"action_reprs": []}, {"action_reprs": []}, {"target_action_index": "3"}], None, 2),
    ],
)
def test_mind2web_trains_across_no_gap(tmp_path, fields, reason, kept):
    rows = [mind2web.row("t1", at, **each) for at, each in enumerate(fields) if each is not None]
    mind2web.write_file(tmp_path / "train-00000-of-00001.parquet", [*rows, *(mind2web.row("t2", n) for n in range(3))])
    whole = kept == len(fields)
    (*found, other), rejected = collected("mind2web", tmp_path)
    assert [len(each.steps) for each in found] == ([kept] if whole else [])
    assert len(other.steps) == 3
    assert {each.reason for each in rejected} >= (set() if whole else {reason, "incomplete task"} - {None})
    assert sum(each.steps for each in rejected) == (0 if whole else len(rows))
    (*cut, _), rejected = collected("mind2web", tmp_path, cut=True)
    assert [[step.action.type for step in each.steps] for each in cut] == [["click", "type", "select"][:kept]] * (
        kept > 0
    )
    assert sum(each.steps for each in rejected) == len(rows) - kept


# --- AgentTrek ------------------------------------------------------------------------------------------------------


def test_agenttrek_is_off_unless_asked_for_as_text(tmp_path):
    with pytest.raises(SourceError, match="text_only=true"):
        collected("agenttrek", agenttrek.write(tmp_path))


def test_agenttrek_groups_by_goal_and_growing_history(tmp_path):
    found, rejected = collected("agenttrek", agenttrek.write(tmp_path), text_only=True)
    assert not rejected
    assert {each.id: types(each) for each in found} == {
        "agenttrek/row-1": ["tool_call", "answer"],
        "agenttrek/row-2": ["tool_call", "tool_call", "scroll", "answer"],
        "agenttrek/row-3": ["tool_call", "terminate"],
    }
    shoes = next(each for each in found if each.id == "agenttrek/row-2")
    assert shoes.steps[0].image is None
    assert "textbox 'Search'" in shoes.steps[0].observation
    assert shoes.steps[0].instruction == 'fill "red shoes" in the textbox "Search"'
    assert shoes.steps[1].instruction == 'click the button "Go\'s"'
    assert [each.outcome for each in found] == ["failure", "unknown", "unknown"]


# --- MM-Traj --------------------------------------------------------------------------------------------------------


def test_mm_traj_pictures_observations_and_ends(tmp_path):
    found, rejected = collected("mm_traj", mm_traj.write(tmp_path))
    assert not rejected
    assert [each.id.rpartition("/")[2] for each in found] == ["a1", "a2", "a3", "a4", "s1"]
    assert [each.outcome for each in found] == ["success", "unknown", "success", "success", "success"]
    assert [each.steps[0].width for each in found] == [160, 160, 0, 0, 160]
    steps = found[0].steps
    assert [step.action.get("name", step.action.type) for step in steps] == ["visualizer", "python", "answer"]
    assert [step.observation for step in steps] == ["", "result 0", "result 1"]
    assert steps[0].instruction == "I look at it."
    assert found[0].goal == "Task: what is on it?"


# --- archives -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part_bytes", [None, 300, 700, 4096])
@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("zip64", [False, True])
def test_archives_whole_split_and_zip64(tmp_path, part_bytes, method, zip64):
    from tracer.sources.zips import Zip

    files = {f"d/{number}.bin": bytes([number]) * number * 37 + f"é{number}".encode() for number in range(20)}
    split_zip.write(tmp_path / "a.zip", files, part_bytes=part_bytes, method=method, zip64=zip64)
    archive = Zip(tmp_path / "a.zip")
    assert {name: archive.read(name) for name in archive.members} == files

"""The interchange format: what is well formed is read whole, and each kind of damage is named where it is."""

import json
import re
import tarfile
import zlib

import pytest

from tests.episodes import episode, picture, pictures_of, sample, write_raw, write_tar
from tracer.action import Action
from tracer.plugins import PluginError
from tracer.sources.jsonl import Episode, read
from tracer.sources.source import Rejected, SourceError, source
from tracer.trajectory import Trajectory


def refused(folder) -> Rejected:
    """The one record of a folder that was rejected."""
    [rejected] = [found for found in read(folder) if isinstance(found, Rejected)]
    return rejected


def test_every_field_arrives(tmp_path):
    raw = sample()
    found = list(source("jsonl").read(write_raw(tmp_path, raw)))
    assert sorted(trajectory.id for trajectory in found) == sorted(line["id"] for line in raw)
    by_id = {trajectory.id: trajectory for trajectory in found}
    line = raw[0]
    trajectory = by_id[line["id"]]
    assert (trajectory.split, trajectory.task, trajectory.goal) == (line["split"], line["task"], line["goal"])
    assert (trajectory.source, trajectory.outcome) == ("jsonl", "success")
    step, raw_step = trajectory.steps[1], line["steps"][1]
    assert step.action == Action.of("click", x=0.7, y=0.25)
    assert step.image == picture(raw_step["image"])
    assert step.target == (0.5, 0.2, 0.9, 0.3)
    assert [element.to_dict() for element in step.elements] == raw_step["elements"]
    assert step.instruction == 'click the button "Two"'


def test_pictures_may_lie_in_a_folder(tmp_path):
    write_raw(tmp_path, [episode("train", 0)])
    (tmp_path / "train/click-two.tar").unlink()
    (tmp_path / "train/images").mkdir()
    for name, content in pictures_of([episode("train", 0)]).items():
        (tmp_path / "train/images" / name).write_bytes(content)
    [trajectory] = read(tmp_path)
    assert trajectory.steps[0].image == picture("click-two-0-0.png")


def test_a_step_without_a_screen(tmp_path):
    line = episode("train", 0)
    arguments = {"query": "tracer"}
    line["steps"] = [
        {"action": {"type": "tool_call", "name": "search", "arguments": arguments}, "instruction": "search"},
        {"action": {"type": "answer", "text": "42"}, "instruction": "answer", "observation": "42 hits"},
    ]
    (tmp_path / "mine.jsonl").write_text(json.dumps(line) + "\n")
    [trajectory] = read(tmp_path / "mine.jsonl")
    assert trajectory.steps[0].action.tool_arguments == arguments
    assert trajectory.steps[0].image is None and trajectory.steps[0].elements is None
    assert trajectory.steps[1].observation == "42 hits"


def change(path, value):
    """A breaking: set the value at a path of the second episode's line."""

    def breaks(line):
        node = line
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return breaks


BROKEN = {
    "unknown action": (change(["steps", 1, "action"], {"type": "teleport"}), "unknown action", "step 1: .*'teleport'"),
    "x off the screen": (
        change(["steps", 0, "action", "x"], 1.2), "coordinate off the screen", r"step 0: .*'x': 1\.2 is off the screen",
    ),
    "y negative": (change(["steps", 0, "action", "y"], -0.1), "coordinate off the screen", "'y': -0.1 is off"),
    "x without y": (change(["steps", 0, "action"], {"type": "click", "x": 0.1}), "broken action", r"missing .*\['y'\]"),
    "text for a number": (change(["steps", 0, "action", "x"], "0.5"), "broken action", "a finite number is needed"),
    "target off the screen": (
        change(["steps", 1, "target"], [0.1, 0.1, 0.4, 1.5]), "coordinate off the screen", r"steps\.1\.target\.3",
    ),
    "target inverted": (change(["steps", 1, "target"], [0.5, 0.1, 0.4, 0.5]), "inverted box", "left, top, right"),
    "three corners": (change(["steps", 1, "target"], [0.5, 0.1, 0.4]), "wrong field", r"steps\.1\.target"),
    "element off the screen": (
        change(["steps", 0, "elements"], [{"role": "a", "text": "b", "box": [0, 0, 2, 1]}]),
        "coordinate off the screen", r"steps\.0\.elements\.0\.box\.2",
    ),
    "missing picture": (change(["steps", 1, "image"], "nowhere.png"), "missing picture", "step 1: .*'nowhere.png'"),
    "absolute picture": (change(["steps", 0, "image"], "/etc/passwd"), "unsafe file name", "/etc/passwd"),
    "climbing picture": (change(["steps", 0, "image"], "../../secret.png"), "unsafe file name", "climbs out"),
    "windows picture": (change(["steps", 0, "image"], "C:\\secret.png"), "unsafe file name", "absolute"),
    "wrong width": (change(["steps", 0, "width"], 320), "wrong picture size", "160 x 210, stated 320 x 210"),
    "unknown split": (change(["split"], "dev"), "unknown split", "split: "),
    "other folder": (change(["split"], "test"), "wrong split", "says 'test' but is in the folder 'train'"),
    "no steps": (change(["steps"], []), "wrong field", "steps: "),
    "no goal": (change(["goal"], None), "wrong field", "goal: "),
    "unknown outcome": (change(["outcome"], "won"), "wrong field", "outcome: "),
    "unknown key": (change(["mood"], "fine"), "wrong field", "mood: "),
    "duplicate id": (change(["id"], "jsonl/click-two/0"), "duplicate id", r"in train/click-two\.jsonl, row 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_episode_is_rejected_and_named(tmp_path, name):
    breaks, reason, detail = BROKEN[name]
    raw = [episode("train", number) for number in range(3)]
    write_raw(tmp_path, raw)
    breaks(raw[1])
    (tmp_path / "train/click-two.jsonl").write_text("".join(json.dumps(line) + "\n" for line in raw))
    found = list(read(tmp_path))
    assert [type(one) for one in found] == [Trajectory, Rejected, Trajectory]
    rejected = found[1]
    assert (rejected.file, rejected.row, rejected.reason) == ("train/click-two.jsonl", 2, reason)
    assert re.search(detail, rejected.detail), rejected.detail
    assert rejected.fix
    assert rejected.raw.startswith("{")


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b'{"id": "a", "sou\n', "EOF|control character"),
        (b"\xff\xfe\x00\n", "."),
        (b"[1, 2]\n", "."),
        (b'{"id": "\\ud800"}\n', "."),
        (b"[" * 100_000 + b"\n", "recursion limit"),
        (b'{"id": NaN}\n', "."),
    ],
)
def test_a_line_that_is_no_json_object(tmp_path, line, detail):
    write_raw(tmp_path, [episode("train", 0)])
    path = tmp_path / "train/click-two.jsonl"
    path.write_bytes(line + path.read_bytes())
    found = list(read(tmp_path))
    assert [type(one) for one in found] == [Rejected, Trajectory]
    assert (found[0].row, found[0].file) == (1, "train/click-two.jsonl")
    assert found[0].reason in ("broken line", "wrong field")


def test_a_file_cut_in_its_last_line(tmp_path):
    write_raw(tmp_path, [episode("train", 0), episode("train", 1)])
    path = tmp_path / "train/click-two.jsonl"
    path.write_bytes(path.read_bytes()[:-100])
    rejected = refused(tmp_path)
    assert rejected.row == 2
    assert rejected.detail.startswith("the last line is cut off")


def test_an_empty_file_is_reported(tmp_path):
    (tmp_path / "empty.jsonl").write_bytes(b"\n")
    assert refused(tmp_path).reason == "empty file"


def test_a_truncated_archive_costs_only_the_episodes_behind_the_cut(tmp_path):
    write_raw(tmp_path, [episode("train", number) for number in range(3)])
    path = tmp_path / "train/click-two.tar"
    with tarfile.open(path) as archive:
        cut = archive.getmember("click-two-2-0.png").offset_data + 10
    path.write_bytes(path.read_bytes()[:cut])
    rejected = refused(tmp_path)
    assert (rejected.row, rejected.id, rejected.reason) == (3, "jsonl/click-two/2", "truncated archive")
    assert "click-two.tar" in rejected.detail
    assert rejected.fix == "fetch or record click-two.tar again"


def test_an_archive_cut_between_two_members_is_truncated_too(tmp_path):
    write_raw(tmp_path, [episode("train", number) for number in range(3)])
    path = tmp_path / "train/click-two.tar"
    with tarfile.open(path) as archive:
        cut = archive.getmember("click-two-2-0.png").offset
    path.write_bytes(path.read_bytes()[:cut])
    assert refused(tmp_path).reason == "truncated archive"


def test_an_archive_that_is_none(tmp_path):
    write_raw(tmp_path, [episode("train", 0)])
    (tmp_path / "train/click-two.tar").write_bytes(b"not an archive" * 100)
    assert refused(tmp_path).reason == "truncated archive"


def test_a_link_in_the_archive_is_no_picture(tmp_path):
    write_raw(tmp_path, [episode("train", 0)])
    with tarfile.open(tmp_path / "train/click-two.tar", "w") as archive:
        link = tarfile.TarInfo("click-two-0-0.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert refused(tmp_path).reason == "missing picture"


def test_a_link_out_of_the_images_folder_is_refused(tmp_path):
    write_raw(tmp_path, [episode("train", 0)])
    (tmp_path / "train/click-two.tar").unlink()
    (tmp_path / "train/images").mkdir()
    (tmp_path / "secret.png").write_bytes(picture("secret"))
    (tmp_path / "train/images/click-two-0-0.png").symlink_to(tmp_path / "secret.png")
    assert refused(tmp_path).reason == "unsafe file name"


@pytest.mark.parametrize("content", [b"", b"not a picture", b"GIF89a" + bytes(100)])
def test_what_is_no_picture(tmp_path, content):
    write_raw(tmp_path, [episode("train", 0)], {"click-two-0-1.png": content})
    rejected = refused(tmp_path)
    assert rejected.reason == "undecodable picture"
    assert "step 1: 'click-two-0-1.png'" in rejected.detail


def test_a_pixel_bomb_is_refused_from_its_header(tmp_path):
    bomb = bytearray(picture("bomb"))
    bomb[16:24] = (30_000).to_bytes(4, "big") + (30_000).to_bytes(4, "big")
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    write_raw(tmp_path, [episode("train", 0)], {"click-two-0-0.png": bytes(bomb)})
    assert refused(tmp_path).reason == "picture too large"


def test_a_long_line_is_passed_over(tmp_path, monkeypatch):
    write_raw(tmp_path, [episode("train", 0), episode("train", 1)])
    path = tmp_path / "train/click-two.jsonl"
    monkeypatch.setattr("tracer.sources.large_json.MAX_LINE_BYTES", len(path.read_bytes().splitlines()[0]) + 10)
    path.write_bytes(b" " * 5000 + path.read_bytes())
    found = list(read(tmp_path))
    assert [type(one) for one in found] == [Rejected, Trajectory]
    assert found[0].reason == "line too long"


def test_a_folder_without_recordings_is_an_error(tmp_path):
    with pytest.raises(SourceError, match=r"contains no \.jsonl file"):
        list(read(tmp_path))


def test_an_unknown_source_is_an_error():
    with pytest.raises(PluginError, match="unknown source 'osworld'; there are: agentdojo, agentnet, "):
        source("osworld")


def test_the_schema_lists_the_documented_fields():
    required = Episode.model_json_schema()["required"]
    assert required == ["id", "source", "task", "split", "goal", "steps"]


def test_two_splits_of_one_task_keep_their_pictures_apart(tmp_path):
    write_raw(tmp_path, [episode("train", 0), episode("test", 1)])
    write_tar(tmp_path / "test/click-two.tar", pictures_of([episode("train", 0)]))
    assert refused(tmp_path).file == "test/click-two.jsonl"

"""What publishers ship, and how users pack it: layouts, spellings and pictures that were refused or read wrongly."""

import io
import json
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.episodes import WIDTH, picture, pictures_of, sample, write_raw
from tests.sources.collect import collected, data, types
from tests.sources.writers import agentnet, agenttrek, gui_odyssey, mind2web, mm_traj, split_zip
from tests.sources.writers.published import SOURCES
from tracer.config import Config
from tracer.dataset import write_shards
from tracer.ingestion.ingest import check, ingest_source
from tracer.sources import agenttrek as trek
from tracer.sources import gui_odyssey as odyssey
from tracer.sources import pyautogui
from tracer.sources.source import Refused, SourceError, picture_size
from tracer.sources.store import store
from tracer.sources.zips import Zip
from tracer.trajectory import Trajectory
from tracer.validation.validate import validate

# --- GUI-Odyssey ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["CLICK", "LONG_PRESS"])
def test_a_point_is_published_twice_and_the_first_counts(name):
    assert odyssey.decoded(name, [[374, 621], [374, 621]]).point == (0.374, 0.621)
    assert odyssey.decoded(name, [[374, 621], [10, 20]]).point == (0.374, 0.621)
    assert odyssey.decoded(name, [[374, 621]]).point == (0.374, 0.621)
    keys = [odyssey.decoded(name, key).type for key in ("KEY_HOME", "KEY_BACK", "KEY_APPSELECT")]
    assert keys == ["navigate_home", "navigate_back", "navigate_recent"]


def test_gui_odyssey_v2_as_it_is_downloaded(tmp_path):
    gui_odyssey.write(tmp_path)
    expected, _ = collected("gui_odyssey", tmp_path)
    store.cache_clear()
    shots = tmp_path / "data/screenshots"
    pictures = {f"screenshots/{path.name}": path.read_bytes() for path in sorted(shots.iterdir())}
    for path in shots.iterdir():
        path.unlink()
    split_zip.write(shots / "screenshots.zip", pictures, part_bytes=1500)
    assert (shots / "screenshots.z01").is_file()
    found, rejected = collected("gui_odyssey", tmp_path)
    assert (found, rejected) == (expected, [])


def test_gui_odysseys_segment_of_something_else_is_no_target(tmp_path):
    """``sam2_bbox`` is a model's: where the click lies outside it, the click is right."""
    boxes = [[450, 100, 550, 140], [450, 120, 550, 140], [501, 100, 550, 140], [0, 0, 1, 1], []]
    episode = gui_odyssey.episode("01", [*[("CLICK", [[500, 120], [500, 120]])] * len(boxes), ("COMPLETE", "")])
    for step, box in zip(episode["steps"], boxes, strict=False):
        step["sam2_bbox"] = box
    gui_odyssey.write(tmp_path, [episode, gui_odyssey.episode("02")])
    found, rejected = collected("gui_odyssey", tmp_path)
    assert rejected == []
    targets = [step.target for step in found[0].steps[: len(boxes)]]
    assert targets == [(0.45, 0.1, 0.55, 0.14), (0.45, 0.12, 0.55, 0.14), None, None, None]


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_gui_odyssey_v1s_halves_of_one_archive(tmp_path, suffix):
    gui_odyssey.write_v1(tmp_path, archived=False)
    expected, _ = collected("gui_odyssey", tmp_path)
    store.cache_clear()
    pictures = gui_odyssey.pictures_of([gui_odyssey.episode(id, v2=False) for id in ("01", "02", "03")])
    for path in (tmp_path / "zips").glob("screenshots*"):
        path.unlink()
    split_zip.write(tmp_path / "whole.zip", pictures)
    whole = (tmp_path / "whole.zip").read_bytes()
    (tmp_path / "whole.zip").unlink()
    for number, half in ((1, whole[: len(whole) // 2]), (2, whole[len(whole) // 2 :])):
        (tmp_path / f"zips/screenshots_0{number}{suffix}").write_bytes(half)
    found, rejected = collected("gui_odyssey", tmp_path)
    assert (found, rejected) == (expected, [])


def test_what_was_looked_for_is_said(tmp_path):
    gui_odyssey.write(tmp_path / "odyssey")
    (tmp_path / "odyssey/data/screenshots").rename(tmp_path / "elsewhere")
    with pytest.raises(SourceError, match=r"looked for: screenshots/, screenshots/\*\.zip, zips/screenshots\*"):
        collected("gui_odyssey", tmp_path / "odyssey")
    mm_traj.write(tmp_path / "mm")
    (tmp_path / "mm/files.zip").unlink()
    _, rejected = collected("mm_traj", tmp_path / "mm")
    assert rejected and all("looked for: the folder, files.zip, data.zip" in each.detail for each in rejected)


# --- MM-Traj --------------------------------------------------------------------------------------------------------


def test_mm_traj_calls_its_archive_files_or_data(tmp_path):
    mm_traj.write(tmp_path)
    expected, _ = collected("mm_traj", tmp_path)
    store.cache_clear()
    (tmp_path / "files.zip").rename(tmp_path / "data.zip")
    assert collected("mm_traj", tmp_path) == (expected, [])


@pytest.mark.parametrize(
    "text",
    [
        "Thought: I look.\nCode:\n```py\nfinal_answer('a')\n```",
        "Thought: I look.\n**Code:**\n```py\nfinal_answer('a')\n```<end_action>",
        "**Thought:** I look.\n**Code**:\n```python\nfinal_answer('a')\n```",
    ],
)
def test_mm_trajs_fences(tmp_path, text):
    turns = [mm_traj.user("x"), {"role": "assistant", "content": text}]
    mm_traj.write(tmp_path, [{**mm_traj.record("a", [mm_traj.FINAL]), "conversations": turns}])
    ((found,), rejected) = collected("mm_traj", tmp_path)
    assert not rejected
    assert (types(found), found.steps[0].instruction) == (["answer"], "I look.")


def outputs(*headings: str) -> dict[str, Any]:
    turns = [mm_traj.user("x"), mm_traj.turn("x()")]
    for heading in headings:
        turns += [mm_traj.user(f"{heading}\nfound it"), mm_traj.turn("x()")]
    return {**mm_traj.record("a", [mm_traj.FINAL]), "conversations": turns}


def test_mm_trajs_observations_are_without_their_heading(tmp_path):
    mm_traj.write(tmp_path, [outputs("[OUTPUT OF STEP 0] Observation:", "[OUTPUT OF STEP 1] Observation:")])
    ((found,), _) = collected("mm_traj", tmp_path)
    assert [step.observation for step in found.steps] == ["", "found it", "found it"]


# --- the order of steps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [[0, 1, 4], [2, 0, 1], [0, 1, 1], [1, 2, 3]])
def test_missing_shuffled_and_doubled_steps_are_refused(tmp_path, numbers):
    line = agentnet.line("u", agentnet.CODES[:3])
    for step, number in zip(line["traj"], numbers, strict=True):
        step["index"] = number
    agentnet.write_lines(tmp_path / agentnet.UBUNTU, [line])
    found, rejected = collected("agentnet", tmp_path, images=False)
    assert (found, [each.reason for each in rejected]) == ([], ["wrong field"])
    episode = gui_odyssey.episode("01", gui_odyssey.STEPS[:3])
    for step, number in zip(episode["steps"], numbers, strict=True):
        step["step"] = number
    gui_odyssey.write(tmp_path / "odyssey", [episode])
    found, rejected = collected("gui_odyssey", tmp_path / "odyssey")
    assert (found, [each.reason for each in rejected]) == ([], ["wrong field"])


@pytest.mark.parametrize("numbers", [[0, 1, 4], [2, 0, 1], [0, 1, 1]])
def test_outputs_that_leave_a_step_out_are_refused(tmp_path, numbers):
    mm_traj.write(tmp_path, [outputs(*(f"[OUTPUT OF STEP {number}]" for number in numbers))])
    found, rejected = collected("mm_traj", tmp_path)
    assert (found, [each.reason for each in rejected]) == ([], ["wrong field"])


# --- AgentNet -------------------------------------------------------------------------------------------------------

# pyautogui.KEYBOARD_KEYS, as its documentation lists them; the printable characters stand for themselves.
OFFICIAL = """
accept add alt altleft altright apps backspace browserback browserfavorites browserforward browserhome browserrefresh
browsersearch browserstop capslock clear convert ctrl ctrlleft ctrlright decimal del delete divide down end enter esc
escape execute f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24 final fn hanguel
hangul hanja help home insert junja kana kanji launchapp1 launchapp2 launchmail launchmediaselect left modechange
multiply nexttrack nonconvert num0 num1 num2 num3 num4 num5 num6 num7 num8 num9 numlock pagedown pageup pause pgdn
pgup playpause prevtrack print printscreen prntscrn prtsc prtscr return right scrolllock select separator shift
shiftleft shiftright sleep space stop subtract tab up volumedown volumemute volumeup win winleft winright yen command
option optionleft optionright
"""
CHARACTERS = ["\t", "\n", "\r", *map(chr, range(32, 65)), *map(chr, range(91, 127))]


def test_every_official_key_has_a_name():
    assert len({*OFFICIAL.split(), *CHARACTERS}) == 194
    names = {key: pyautogui.key_name(key) for key in (*OFFICIAL.split(), *CHARACTERS)}
    assert (names["num5"], names["multiply"], names["prntscrn"]) == ("5", "*", "PrintScreen")
    assert names["option"] == names["optionright"] == "Alt"


@pytest.mark.parametrize(
    ("spelling", "key"),
    [("page_down", "PageDown"), ("caps_lock", "CapsLock"), ("media_volume_down", "AudioVolumeDown"),
     ("alt_gr", "AltGraph"), ("cmd_r", "Meta"), ("ctrl_l", "Control"), ("print_screen", "PrintScreen"),
     ("media_next", "MediaTrackNext")],
)  # fmt: skip
def test_keys_with_underscores(spelling, key):
    assert pyautogui.key_name(spelling) == key


PLAIN_CLICK = "pyautogui.click(x=0.1, y=0.2)"


def read(code: str) -> list[dict[str, Any]]:
    return [action.to_dict() for action in pyautogui.actions(code)]


def test_what_the_pointer_was_moved_to_counts_until_it_is_moved():
    across = {"type": "scroll", "direction": "right", "x": 0.4, "y": 0.4, "amount": 2.0}
    down = {"type": "scroll", "direction": "down", "x": 0.4, "y": 0.4, "amount": 5.0}
    code = "pyautogui.moveTo(.4,.4)\npyautogui.hscroll(-2)\npyautogui.scroll(5)"
    assert read(code) == [across, down]
    assert read("pyautogui.click(x=0.4, y=0.4)\npyautogui.scroll(5)")[1] == down
    assert read("pyautogui.scroll(5)") == [{"type": "scroll", "direction": "down", "amount": 5.0}]
    click = {"type": "click", "x": 0.4, "y": 0.4}
    assert read("pyautogui.moveTo(.4,.4)\npyautogui.click()") == [click]
    assert read("pyautogui.moveTo(.4,.4)\npyautogui.scroll(5)\npyautogui.rightClick()")[1]["x"] == 0.4
    move = {"type": "move", "x": 0.1, "y": 0.1}
    assert read("pyautogui.moveTo(.1,.1)\npyautogui.click(x=.4, y=.4)") == [move, click]
    with pytest.raises(Refused, match="lacks"):
        read("pyautogui.click()")


def test_spellings_that_mean_the_same():
    assert read("pyautogui.scroll(-3.0)") == read("pyautogui.scroll(-3)")
    assert read("pyautogui.press('a', presses=2.0)") == read("pyautogui.press('a', presses=2)")
    assert read("pyautogui.click(0.1, 0.2, clicks=2.0)") == read("pyautogui.doubleClick(0.1, 0.2, button='left')")
    assert read("pyautogui.click(0.1, 0.2, button='secondary')") == read("pyautogui.rightClick(0.1, 0.2)")
    assert read("pyautogui.press('a', interval=0.1)") == read("pyautogui.press('a')")
    assert read("computer.terminate(status='fail')") == read("computer.terminate(status='failure')")
    assert read("pyautogui.hotkey(['ctrl', 'V'])") == read("pyautogui.hotkey(['ctrl', 'v'])")
    assert read("pyautogui.press('V')") != read("pyautogui.press('v')")  # alone, it types a capital
    assert read("pyautogui.moveTo(0.1, 0.2, 0.5)") == read("pyautogui.moveTo(x=0.1, y=0.2)")
    for place in ("(0.1, 0.2)", "x=[0.1, 0.2]", "0.1, 0.2, button=None", "x=0.1, y=0.2, duration=None"):
        assert read(f"pyautogui.click({place})") == read("pyautogui.leftClick(0.1, 0.2)") == read(PLAIN_CLICK)
    assert read("pyautogui.moveTo(.1, .2)\npyautogui.click(None, None)") == read(PLAIN_CLICK)
    assert read("pyautogui.typewrite(['a', 'enter'])") == read("pyautogui.press(['a', 'enter'])")
    with pytest.raises(Refused, match="whole number"):
        read("pyautogui.scroll(-3.5)")


def test_a_null_in_a_field_that_is_not_used_rejects_nothing(tmp_path):
    line = agentnet.line("u", actual_task=None, natural_language_task=None, reason=None, alignment_score=None)
    line["traj"][0]["value"] |= {"action": None, "thought": None, "last_step_correct": None}
    agentnet.write_lines(tmp_path / agentnet.UBUNTU, [line])
    ((found,), rejected) = collected("agentnet", tmp_path, images=False)
    assert (len(found.steps), rejected) == (10, [])


def test_a_step_that_cannot_be_read_costs_its_trajectory_or_what_follows_it(tmp_path):
    line = agentnet.line("u", [*agentnet.CODES[:3], "pyautogui.fly()", agentnet.CODES[0]])
    agentnet.write_lines(tmp_path / "raw.jsonl", [])
    (tmp_path / "raw").mkdir()
    agentnet.write_lines(tmp_path / "raw" / agentnet.UBUNTU, [line, agentnet.line("v")])
    ingest_source(data("agentnet", tmp_path / "raw", images=False), tmp_path / "whole")
    stats = json.loads((tmp_path / "whole/stats.json").read_text(encoding="utf-8"))
    assert (stats["trajectories"], stats["rejected"]["total"], stats["rejected_steps"]) == (1, 1, 5)
    ingest_source(data("agentnet", tmp_path / "raw", images=False, cut=True), tmp_path / "cut")
    stats = json.loads((tmp_path / "cut/stats.json").read_text(encoding="utf-8"))
    assert (stats["trajectories"], stats["rejected"]["total"], stats["rejected_steps"]) == (2, 1, 2)
    found, _ = collected("agentnet", tmp_path / "raw", images=False, cut=True)
    assert (types(found[0]), found[0].outcome) == (["click", "drag", "scroll"], "unknown")


# --- Multimodal-Mind2Web --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rect", ["nan,0,5,5", "0,inf,5,5", "0,0,-5,5", "0,0,5,-5", "0,0,5,1e999"])
def test_broken_boxes_are_no_targets(tmp_path, rect):
    mind2web.write_file(
        tmp_path / "train-00000-of-00001.parquet", [mind2web.row("t", 0, pos_candidates=[mind2web.candidate(rect)])]
    )
    found, rejected = collected("mind2web", tmp_path)
    assert (found, rejected[0].reason) == ([], "broken box")


def test_a_candidate_without_layout_is_not_on_the_page_and_costs_nothing(tmp_path):
    hidden = mind2web.candidate("-1,-1,-1,-1", "7", tag="option")
    shown = [mind2web.candidate("16,80,64,40"), hidden]
    rows = [
        mind2web.row("t", 0, action_reprs=[], pos_candidates=[hidden, *shown], neg_candidates=[hidden]),
        mind2web.row("u", 0, action_reprs=[], pos_candidates=[hidden]),
    ]
    mind2web.write_file(tmp_path / "train-00000-of-00001.parquet", rows)
    (found,), (rejected,) = collected("mind2web", tmp_path, elements=True)
    assert found.steps[0].target == (16 / 128, 80 / 400, 80 / 128, 120 / 400)
    assert [element.role for element in found.steps[0].elements or ()] == ["button"]
    assert rejected.reason == "no target"


def test_a_row_without_a_task_belongs_to_none(tmp_path):
    rows = [mind2web.row("t", 0, action_reprs=[]), {**mind2web.row("t", 1), "annotation_id": None}]
    mind2web.write_file(tmp_path / "train-00000-of-00001.parquet", rows)
    found, rejected = collected("mind2web", tmp_path)
    assert [each.id for each in found] == ["mind2web/train/t"]
    assert ("wrong field", 2) in [(each.reason, each.row) for each in rejected]


def test_a_picture_of_a_whole_page_may_be_large():
    buffer = io.BytesIO()
    Image.new("1", (1280, 60_000)).save(buffer, "PNG")
    page = buffer.getvalue()
    with pytest.raises(Refused, match="picture too large"):
        picture_size(page, "page")
    from tracer.sources.source import MAX_PAGE_PIXELS

    assert picture_size(page, "page", limit=MAX_PAGE_PIXELS) == (1280, 60_000)


# --- AgentTrek ------------------------------------------------------------------------------------------------------


def test_a_history_of_marked_actions(tmp_path):
    chain = agenttrek.chain("Buy shoes", agenttrek.CODES)
    for element in chain:
        question = element["messages"][1]
        head, heading, past = question["content"].partition("# History")
        for code in agenttrek.CODES:
            past = past.replace(f"### Action:\n{code}\n", f"<action>\n{code}\n</action>\n")
        question["content"] = head + heading + past
    agenttrek.write(tmp_path, chain)
    ((found,), rejected) = collected("agenttrek", tmp_path, text_only=True)
    assert (len(found.steps), rejected) == (4, [])


@pytest.mark.parametrize(
    "code", ["click('15') <!-- the button -->", "click('15')\n<!-- the\nbutton -->", "<!-- first -->\nclick('15')"]
)
def test_a_comment_behind_a_call(tmp_path, code):
    agenttrek.write(tmp_path, [agenttrek.element("Buy", [], code), agenttrek.element("Buy", [code], "noop()")])
    ((found,), rejected) = collected("agenttrek", tmp_path, text_only=True)
    assert (types(found), rejected) == (["tool_call", "wait"], [])
    assert trek.actions("fill('1', '<!-- kept -->')")[0].tool_arguments["value"] == "<!-- kept -->"


def test_mostly_single_steps_are_warned_of(tmp_path):
    agenttrek.write(tmp_path / "raw", [agenttrek.element(f"goal {n}", [], "noop()") for n in range(3)])
    ingest_source(data("agenttrek", tmp_path / "raw", text_only=True), tmp_path / "out")
    (warning,) = json.loads((tmp_path / "out/stats.json").read_text(encoding="utf-8"))["warnings"]
    assert "3 of 3 trajectories have one step" in warning
    assert check(data("agenttrek", tmp_path / "raw", text_only=True))["warnings"] == [warning]


# --- pictures and names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_picture_that_breaks_off_is_refused(format, part):
    whole = picture("whole", format=format)
    assert picture_size(whole, "it")[0] == WIDTH
    with pytest.raises(Refused, match="undecodable picture"):
        picture_size(whole[: int(len(whole) * part)], "it")


def test_a_damaged_png_is_refused():
    whole = bytearray(picture("whole"))
    whole[len(whole) // 2] ^= 1
    with pytest.raises(Refused, match="undecodable picture"):
        picture_size(bytes(whole), "it")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_rotated_picture_is_refused(format):
    image, exif, buffer = Image.new("RGB", (40, 20)), Image.Exif(), io.BytesIO()
    for turned in (1, 6):
        exif[0x0112] = turned
        buffer = io.BytesIO()
        image.save(buffer, format, exif=exif)
        if turned == 1:
            assert picture_size(buffer.getvalue(), "it") == (40, 20)
    with pytest.raises(Refused, match="rotated picture: it has the EXIF orientation 6"):
        picture_size(buffer.getvalue(), "it")


def test_exif_behind_the_pixels_counts_too():
    exif = Image.Exif()
    exif[0x0112] = 3
    whole, block = picture("whole"), exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    with pytest.raises(Refused, match="rotated picture"):
        picture_size(whole[:-12] + chunk + whole[-12:], "it")


@pytest.mark.parametrize("change", [lambda whole: whole[:-200], lambda whole: b"GIF89a"])
def test_a_broken_picture_costs_its_episode(tmp_path, change):
    episodes = sample()
    broken = episodes[0]["steps"][0]["image"]
    write_raw(tmp_path, episodes, {broken: change(pictures_of(episodes)[broken])})
    found = check(data("jsonl", tmp_path))
    assert (found["trajectories"], found["reasons"]) == (5, {"undecodable picture": 1})


def test_names_in_zips_that_are_utf8_without_saying_so(tmp_path):
    files = {"caf\u00e9/\u6f22.png": b"one", "plain.png": b"two"}
    split_zip.write(tmp_path / "a.zip", files)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = data.find(mark)
        while place >= 0:
            data[place + at + 1] &= ~0x08  # the UTF-8 flag, 0x800
            place = data.find(mark, place + 1)
    (tmp_path / "a.zip").write_bytes(data)
    archive = Zip(tmp_path / "a.zip")
    assert {name: archive.read(name) for name in archive.members} == files


def test_a_long_name_costs_its_record(tmp_path):
    line = agentnet.line("u", agentnet.CODES[:1])
    line["traj"][0]["image"] = "a" * 300 + ".png"
    agentnet.write(tmp_path, ubuntu=[line])
    found, rejected = collected("agentnet", tmp_path)
    assert (len(found), [each.reason for each in rejected]) == (3, ["unsafe file name"])


def test_an_empty_goal_costs_its_record(tmp_path):
    agentnet.write_lines(tmp_path / agentnet.UBUNTU, [agentnet.line("u", instruction=" "), agentnet.line("v")])
    found, rejected = collected("agentnet", tmp_path, images=False)
    assert (len(found), [each.reason for each in rejected]) == (1, ["empty field"])


def test_pictures_in_an_archive_that_tar_made_of_a_folder(tmp_path):
    episodes = sample()[:1]
    write_raw(tmp_path, episodes)
    archive, pictures = tmp_path / "train/click-two.tar", tmp_path / "pictures"
    pictures.mkdir()
    for name, content in pictures_of(episodes).items():
        (pictures / name).write_bytes(content)
    subprocess.run(["tar", "-C", pictures, "-cf", archive, "."], check=True)
    found, rejected = collected("jsonl", tmp_path)
    assert (len(found), rejected) == (1, [])


# --- validation -----------------------------------------------------------------------------------------------------


def unchecked(trajectories: list[Trajectory], folder: Path) -> list[str]:
    """The expectations that could not be checked."""
    write_shards(trajectories, folder / "shards")
    validate(Config(profile="any"), folder / "shards", folder / "base", folder / "out")
    results = json.loads((folder / "out/validation.json").read_text(encoding="utf-8"))["results"]
    return [each["name"] for each in results if "could not be checked" in str(each["observed"])]


@pytest.mark.parametrize("name", SOURCES)
def test_the_suite_runs_on_every_source(tmp_path, name):
    write, options = SOURCES[name]
    found, _ = collected(name, write(tmp_path / "raw"), **options)
    assert unchecked(found, tmp_path) == []


@pytest.mark.parametrize("field", ["image", "elements", "target", "observation", "all"])
def test_the_suite_runs_without_an_optional_column(tmp_path, field):
    from dataclasses import replace

    found, _ = collected("jsonl", write_raw(tmp_path / "raw", sample()))
    empty = {"image": {"image": None, "width": 0, "height": 0}, "elements": {"elements": None},
             "target": {"target": None}, "observation": {"observation": ""}}  # fmt: skip
    fields = {key: value for name, values in empty.items() if field in (name, "all") for key, value in values.items()}
    bare = [replace(each, steps=tuple(replace(step, **fields) for step in each.steps)) for each in found]
    assert unchecked(bare, tmp_path) == []

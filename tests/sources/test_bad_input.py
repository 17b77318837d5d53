"""Bad input over all adapters: each kind is a clear error or a counted quarantine, and the rest is still read.

A case breaks one thing in a good fixture. ``Quarantined`` says which reason is counted and how many trajectories are
left; ``Error`` says what the message names. Nothing that a file holds is ever run: see the last tests.
"""

import gzip
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.episodes import picture
from tests.sources.collect import collected
from tests.sources.writers import agentnet, agenttrek, android_control, gui_odyssey, mind2web, mm_traj, split_zip
from tracer.sources.source import Refused, SourceError
from tracer.sources.store import store

GOOD = {
    "agentnet": agentnet.write,
    "android_control": android_control.write,
    "gui_odyssey": gui_odyssey.write,
    "mind2web": mind2web.write,
    "agenttrek": agenttrek.write,
    "mm_traj": mm_traj.write,
}
OPTIONS: dict[str, dict[str, Any]] = {"agenttrek": {"text_only": True}}
SHARD = "android_control-00000-of-00002"
BOMB = zlib.compress(b"\0" * 10_000_000)


@dataclass
class Quarantined:
    reason: str
    left: int
    count: int = 1


@dataclass
class Error:
    message: str


Case = tuple[str, str, Callable[[Path], object], Quarantined | Error]
CASES: list[Case] = []


def case(source: str, expected: Quarantined | Error) -> Callable[[Callable[[Path], object]], Callable[[Path], object]]:
    def add(break_it: Callable[[Path], object]) -> Callable[[Path], object]:
        CASES.append((source, break_it.__name__, break_it, expected))
        return break_it

    return add


@pytest.fixture(autouse=True)
def _fresh():
    store.cache_clear()


# --- AgentNet: five good trajectories, two of Ubuntu ------------------------------------------------------------------


def ubuntu(folder: Path, *lines: Any) -> None:
    """Put lines before Ubuntu's good ones; pictures that they name are those of the good ones."""
    path = folder / agentnet.UBUNTU
    good = path.read_bytes()
    agentnet.write_lines(path, list(lines))
    path.write_bytes(path.read_bytes() + good)


def one_call(code: str, image: str = "u1_a_0.png") -> dict[str, Any]:
    return agentnet.line("bad", [code]) | {"traj": [agentnet.step(0, code, image)]}


for name, code, reason in [
    ("coordinate_over_one", "pyautogui.click(x=1.02, y=0.5)", "coordinate off the screen"),
    ("negative_coordinate", "pyautogui.click(x=-0.1, y=0.5)", "coordinate off the screen"),
    ("infinite_coordinate", "pyautogui.click(x=1e999, y=0.5)", "broken action"),
    ("unknown_call", "pyautogui.screenshot()", "unknown action"),
    ("foreign_module", "os.system('rm -rf /')", "unknown action"),
    ("imported_module", "__import__('os').system('x')", "code is not a call"),
    ("assignment", "x = 1", "code is not a call"),
    ("computed_argument", "pyautogui.click(x=f(), y=0.5)", "argument is not a literal"),
    ("syntax_error", "pyautogui.click(x=0.5, y=", "code is not valid Python"),
    ("deep_nesting", "(" * 5000, "code is not valid Python"),
    ("null_byte_in_code", "pyautogui.click(x=0.1, y=0.1)\0", "code is not valid Python"),
    ("very_long_code", "pyautogui.write(message='" + "a" * 200_000 + "')", "code too long"),
    ("empty_code", "", "code is not a call"),
    ("malformed_key", "pyautogui.press('ctrl+shift')", "unknown key"),
    ("key_of_a_wrong_type", "pyautogui.press(keys=[1])", "unknown key"),
    ("million_presses", "pyautogui.press('a', presses=1000000)", "broken action"),
    ("drag_without_a_start", "pyautogui.dragTo(x=0.5, y=0.5, button='left')", "broken action"),
    ("scroll_by_nothing", "pyautogui.scroll(0)", "broken action"),
    ("text_as_coordinate", "pyautogui.click(x='0.5', y=0.5)", "broken action"),
    ("digits_of_another_script", "pyautogui.click(x=0.\u0663, y=0.5)", "code is not valid Python"),
    ("unknown_status", "computer.terminate(status='maybe')", "broken action"),
]:

    def _code(folder: Path, code: str = code) -> None:
        ubuntu(folder, one_call(code))

    _code.__name__ = name
    case("agentnet", Quarantined(reason, left=5))(_code)


@case("agentnet", Quarantined("broken line", left=5))
def cut_line(folder: Path) -> None:
    ubuntu(folder, json.dumps(agentnet.line("bad")).encode()[:300])


@case("agentnet", Quarantined("broken line", left=5))
def invalid_utf8(folder: Path) -> None:
    ubuntu(folder, json.dumps(agentnet.line("bad")).encode().replace(b"Save", b"\xff\xfe"))


@case("agentnet", Quarantined("wrong field", left=5))
def number_instead_of_steps(folder: Path) -> None:
    ubuntu(folder, {**agentnet.line("bad"), "traj": 3})


@case("agentnet", Quarantined("wrong field", left=5))
def verdict_as_text(folder: Path) -> None:
    ubuntu(folder, agentnet.line("bad", task_completed="yes"))


@case("agentnet", Quarantined("no actions", left=5))
def no_steps(folder: Path) -> None:
    ubuntu(folder, agentnet.line("bad", []))


@case("agentnet", Quarantined("missing file", left=5))
def picture_that_is_not_in_the_archive(folder: Path) -> None:
    ubuntu(folder, one_call(agentnet.CODES[0], "gone.png"))


@case("agentnet", Quarantined("unsafe file name", left=5))
def picture_name_that_climbs_out(folder: Path) -> None:
    ubuntu(folder, one_call(agentnet.CODES[0], "../../etc/passwd"))


@case("agentnet", Quarantined("unsafe file name", left=5))
def absolute_picture_name(folder: Path) -> None:
    ubuntu(folder, one_call(agentnet.CODES[0], "/etc/passwd"))


def archive(folder: Path, name: str, data: bytes, **wrong: int) -> None:
    """Ubuntu's archive with one entry more, whose header may lie; a line names it."""
    ubuntu(folder, one_call(agentnet.CODES[0], name))
    lines = [json.loads(line) for line in (folder / agentnet.UBUNTU).read_text().splitlines()[1:]]
    entries = [split_zip.entry(each, data, 0) for each, data in agentnet.pictures_of(lines).items()]
    for part in (folder / "ubuntu_images").iterdir():
        part.unlink()
    split_zip.write(folder / "ubuntu_images/images.zip", {}, entries=[*entries, split_zip.entry(name, data, **wrong)])


@case("agentnet", Quarantined("file too large", left=5))
def decompression_bomb_that_says_so(folder: Path) -> None:
    archive(folder, "bomb.png", b"\0" * 80_000_000)


@case("agentnet", Quarantined("damaged file", left=5))
def decompression_bomb_that_lies(folder: Path) -> None:
    archive(folder, "bomb.png", b"\0" * 10_000_000, size=1000)


@case("agentnet", Quarantined("damaged file", left=5))
def archived_file_with_a_wrong_crc(folder: Path) -> None:
    archive(folder, "x.png", picture("x"), crc=1)


@case("agentnet", Quarantined("encrypted file", left=5))
def encrypted_file(folder: Path) -> None:
    archive(folder, "x.png", picture("x"), flags=1)


@case("agentnet", Quarantined("undecodable picture", left=5))
def text_instead_of_a_picture(folder: Path) -> None:
    archive(folder, "x.png", b"<html>404</html>")


@case("agentnet", Quarantined("picture too large", left=5))
def pixel_bomb(folder: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    data = struct.pack(">I", len(BOMB)) + b"IDAT" + BOMB + struct.pack(">I", zlib.crc32(b"IDAT" + BOMB))
    archive(folder, "x.png", b"\x89PNG\r\n\x1a\n" + chunk + data)


@case("agentnet", Error("images.z02 is missing"))
def missing_zip_part(folder: Path) -> None:
    (folder / "win_mac_images/images.z02").unlink()


@case("agentnet", Error("consists of"))
def missing_first_and_last_parts(folder: Path) -> None:
    parts = sorted((folder / "win_mac_images").glob("images.z[0-9]*"))
    parts[-1].unlink()


@case("agentnet", Error("not images.zip itself"))
def missing_last_zip_part(folder: Path) -> None:
    (folder / "win_mac_images/images.zip").unlink()


@case("agentnet", Error("no end record"))
def cut_zip(folder: Path) -> None:
    path = folder / "win_mac_images/images.zip"
    path.write_bytes(path.read_bytes()[:-30])


@case("agentnet", Error("twice"))
def zip_with_one_name_twice(folder: Path) -> None:
    for part in (folder / "ubuntu_images").iterdir():
        part.unlink()
    entry = split_zip.entry("a.png", picture("a"))
    split_zip.write(folder / "ubuntu_images/images.zip", {}, entries=[entry, entry])


@case("agentnet", Error("is empty"))
def empty_jsonl(folder: Path) -> None:
    (folder / agentnet.UBUNTU).write_bytes(b"")


@case("agentnet", Error("holds neither"))
def no_jsonl(folder: Path) -> None:
    for name in (agentnet.UBUNTU, agentnet.WINDOWS):
        (folder / name).unlink()


@case("agentnet", Error("images=false"))
def no_pictures_at_all(folder: Path) -> None:
    for part in (folder / "ubuntu_images").iterdir():
        part.unlink()
    (folder / "ubuntu_images").rmdir()


@case("agentnet", Error("meta_data_merged.jsonl, line 2"))
def broken_meta_data(folder: Path) -> None:
    (folder / "meta_data_merged.jsonl").write_text('{"task_id": "w1"}\n{"system": 3}\n')


# --- AndroidControl: six good episodes, and one without actions -------------------------------------------------------


def shard(folder: Path, *records: bytes) -> None:
    """Put records before those of the first shard (episodes 0, 4, 1)."""
    path = folder / SHARD
    good = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(b"".join(records) + good, 1))


def broken_episode(folder: Path, **features: list[Any] | None) -> None:
    changed = {**android_control.episode(2), **features}
    present = {name: values for name, values in changed.items() if values is not None}
    shard(folder, android_control.record(android_control.example(present)))


for name, features, reason in [
    ("no_screenshots", {"screenshots": None}, "wrong number of values"),
    ("one_screenshot_short", {"screenshots": [picture("x", 108, 240)] * 8}, "wrong number of values"),
    ("one_instruction_short", {"step_instructions": [b"x"]}, "wrong number of values"),
    ("two_goals", {"goal": [b"a", b"b"]}, "wrong number of values"),
    ("episode_id_as_text", {"episode_id": [b"2"]}, "wrong number of values"),
    ("goal_of_invalid_utf8", {"goal": [b"\xff\xfe"]}, "invalid UTF-8"),
    ("width_that_the_picture_has_not", {"screenshot_widths": [1080] * 9}, "wrong picture size"),
    ("tree_that_is_no_protobuf", {"accessibility_trees": [b"\x0a\xff\xff"] * 9}, "broken accessibility tree"),
    ("action_that_is_no_json", {"actions": [b"{"] * 8}, "broken action"),
    ("action_that_is_a_list", {"actions": [b"[]"] * 8}, "broken action"),
    ("episode_in_no_split", {"episode_id": [99]}, "unknown split"),
]:

    def _features(folder: Path, features: dict[str, Any] = features) -> None:
        broken_episode(folder, **features)

    _features.__name__ = name
    case("android_control", Quarantined(reason, left=6))(_features)

for name, action, reason in [
    ("click_off_the_screen", {"action_type": "click", "x": 109, "y": 3}, "coordinate off the screen"),
    ("unknown_action_type", {"action_type": "teleport"}, "unknown action"),
    ("action_without_a_type", {"x": 1, "y": 2}, "unknown action"),
    ("unknown_direction", {"action_type": "scroll", "direction": "sideways"}, "broken action"),
    ("click_without_y", {"action_type": "click", "x": 3}, "broken action"),
    ("click_with_a_surplus", {"action_type": "click", "x": 3, "y": 4, "z": 5}, "broken action"),
    ("click_at_a_text", {"action_type": "click", "x": "3", "y": 4}, "broken action"),
]:

    def _action(folder: Path, action: dict[str, Any] = action) -> None:
        broken_episode(folder, actions=[json.dumps(action).encode()] * 8)

    _action.__name__ = name
    case("android_control", Quarantined(reason, left=6))(_action)


@case("android_control", Quarantined("wrong CRC", left=6))
def payload_with_a_wrong_crc(folder: Path) -> None:
    record = android_control.record(android_control.example(android_control.episode(2)))
    shard(folder, record[:-1] + bytes([record[-1] ^ 1]))


@case("android_control", Quarantined("broken record", left=6))
def record_that_is_no_example(folder: Path) -> None:
    shard(folder, android_control.record(b"\x0a\xff\xff\xff\x0f"))


@case("android_control", Error("wrong CRC"))
def length_with_a_wrong_crc(folder: Path) -> None:
    record = android_control.record(b"x")
    shard(folder, record[:8] + b"\0\0\0\0" + record[12:])


@case("android_control", Error("damaged or cut off"))
def cut_gzip(folder: Path) -> None:
    path = folder / SHARD
    path.write_bytes(path.read_bytes()[:-500])


@case("android_control", Error("damaged or cut off"))
def damaged_gzip(folder: Path) -> None:
    path = folder / SHARD
    data = bytearray(path.read_bytes())
    data[1000:1100] = bytes(100)
    path.write_bytes(data)


@case("android_control", Error("cut off"))
def cut_record(folder: Path) -> None:
    path = folder / SHARD
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-500]))


@case("android_control", Error("over"))
def record_that_says_a_terabyte(folder: Path) -> None:
    length = struct.pack("<Q", 1 << 40)
    shard(folder, length + android_control.masked(length))


@case("android_control", Error("contains no record"))
def empty_shard(folder: Path) -> None:
    (folder / SHARD).write_bytes(b"")


@case("android_control", Error("missing"))
def missing_shard(folder: Path) -> None:
    (folder / SHARD).unlink()


@case("android_control", Error("splits.json does not exist"))
def missing_splits(folder: Path) -> None:
    (folder / "splits.json").unlink()


@case("android_control", Error("is in train and test"))
def episode_in_two_splits(folder: Path) -> None:
    android_control.write_splits(folder, [0, 1], [], [1])


@case("android_control", Error("lists '0', which is no int"))
def splits_of_texts(folder: Path) -> None:
    (folder / "splits.json").write_text(json.dumps({"train": [1, "0"]}))


@case("android_control", Error("is not valid JSON"))
def broken_splits(folder: Path) -> None:
    (folder / "splits.json").write_text("{")


# --- GUI-Odyssey: three good episodes ---------------------------------------------------------------------------------


def annotation(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "data/annotations/02.json"
    episode = json.loads(path.read_text())
    change(episode)
    path.write_text(json.dumps(episode))


def first_step(action: str, info: Any, **fields: Any) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        annotation(folder, lambda episode: episode["steps"][1].update(action=action, info=info, **fields))

    return change


for name, change, reason in [
    ("thousandths_over_1000", first_step("CLICK", [[1001, 5]]), "coordinate off the screen"),
    ("click_on_an_unknown_key", first_step("CLICK", "KEY_POWER"), "broken action"),
    ("long_press_on_an_unknown_key", first_step("LONG_PRESS", "KEY_POWER"), "broken action"),
    ("scroll_with_one_point", first_step("SCROLL", [[1, 2]]), "broken action"),
    ("click_at_three_numbers", first_step("CLICK", [[1, 2, 3]]), "broken action"),
    ("text_that_is_a_list", first_step("TEXT", [[1, 2]]), "broken action"),
    ("unknown_odyssey_action", first_step("FLY", ""), "unknown action"),
    ("box_with_nan", first_step("CLICK", [[5, 5]], sam2_bbox=[1, 2, float("nan"), 9]), "broken JSON"),
    ("box_of_three_numbers", first_step("CLICK", [[5, 5]], sam2_bbox=[1, 2, 3]), "broken box"),
    ("inverted_box", first_step("CLICK", [[5, 5]], sam2_bbox=[9, 9, 1, 1]), "broken box"),
    ("screenshot_that_climbs_out", first_step("CLICK", [[5, 5]], screenshot="../splits/x.png"), "unsafe file name"),
]:
    change.__name__ = name
    case("gui_odyssey", Quarantined(reason, left=2))(change)


@case("gui_odyssey", Quarantined("missing file", left=2))
def missing_screenshot(folder: Path) -> None:
    (folder / "data/screenshots/02_3.png").unlink()


@case("gui_odyssey", Quarantined("missing file", left=2))
def missing_annotation(folder: Path) -> None:
    (folder / "data/annotations/02.json").unlink()


@case("gui_odyssey", Quarantined("empty file", left=2))
def empty_annotation(folder: Path) -> None:
    (folder / "data/annotations/02.json").write_text("")


@case("gui_odyssey", Quarantined("broken JSON", left=2))
def cut_annotation(folder: Path) -> None:
    path = folder / "data/annotations/02.json"
    path.write_text(path.read_text()[:100])


@case("gui_odyssey", Quarantined("wrong field", left=2))
def id_of_another_episode(folder: Path) -> None:
    annotation(folder, lambda episode: episode.update(episode_id="01"))


@case("gui_odyssey", Quarantined("wrong number of values", left=2))
def step_that_is_missing(folder: Path) -> None:
    annotation(folder, lambda episode: episode["steps"].pop())


@case("gui_odyssey", Quarantined("wrong field", left=2))
def steps_out_of_order(folder: Path) -> None:
    annotation(folder, lambda episode: episode["steps"].reverse())


@case("gui_odyssey", Quarantined("unsafe file name", left=2))
def screenshot_that_links_out(folder: Path) -> None:
    (folder / "data/screenshots/02_0.png").unlink()
    (folder / "secret.png").write_bytes(picture("secret"))
    (folder / "data/screenshots/02_0.png").symlink_to(folder / "secret.png")


@case("gui_odyssey", Error("random_split.json does not exist"))
def missing_odyssey_split(folder: Path) -> None:
    (folder / "data/splits/random_split.json").unlink()


@case("gui_odyssey", Error("lists .*, which is no str"))
def split_that_lists_lists(folder: Path) -> None:
    (folder / "data/splits/random_split.json").write_text(json.dumps({"train": [["01.json"]], "test": [None]}))


@case("gui_odyssey", Error("twice"))
def odyssey_episode_in_two_splits(folder: Path) -> None:
    lists = {"train": ["01.json"], "test": ["01.json"]}
    (folder / "data/splits/random_split.json").write_text(json.dumps(lists))


# --- Multimodal-Mind2Web: six good tasks of three steps ---------------------------------------------------------------


def rows(folder: Path, *fields: dict[str, Any]) -> None:
    """Replace the test_task file by one task whose steps have these fields changed."""
    (folder / "data/test_task-00000-of-00001-4e5f.parquet").unlink()
    changed = [mind2web.row("q1", index, **each) for index, each in enumerate(fields)]
    mind2web.write_file(folder / "data/test_task-00000-of-00001-4e5f.parquet", changed)


def candidates(*texts: str) -> dict[str, Any]:
    return {"pos_candidates": list(texts)}


for name, fields, reason in [
    ("null_screenshot", {"screenshot": None}, "no screenshot"),
    ("screenshot_without_bytes", {"screenshot": {"bytes": None, "path": "x.png"}}, "no screenshot"),
    ("no_positive_candidate", candidates(), "no target"),
    ("target_off_the_page", candidates(mind2web.candidate("500,500,10,10")), "no target"),
    ("rect_of_three_numbers", candidates(mind2web.candidate("1,2,3")), "broken box"),
    ("rect_of_words", candidates(mind2web.candidate("a,b,c,d")), "broken box"),
    ("candidate_that_is_no_json", candidates("{"), "broken JSON"),
    ("attributes_that_are_no_json", candidates(json.dumps({"tag": "a", "attributes": "{"})), "broken JSON"),
    ("operation_that_is_no_json", {"operation": "CLICK"}, "broken JSON"),
    ("unknown_operation", {"operation": json.dumps({"op": "FLY", "value": ""})}, "unknown action"),
    ("typing_nothing_known", {"operation": json.dumps({"op": "TYPE"})}, "broken action"),
    ("index_that_is_no_number", {"target_action_index": "one"}, "wrong field"),
    ("step_twice", {"target_action_index": "1"}, "duplicate step"),
]:

    def _row(folder: Path, fields: dict[str, Any] = fields) -> None:
        rows(folder, {}, {}, fields)

    _row.__name__ = name
    case("mind2web", Quarantined(reason, left=5))(_row)


@case("mind2web", Quarantined("too many steps", left=5))
def million_readable_actions(folder: Path) -> None:
    rows(folder, {"action_reprs": ["x -> CLICK"] * 1_000_000}, {}, {})


@case("mind2web", Error("is not a whole Parquet file"))
def cut_parquet(folder: Path) -> None:
    path = folder / "data/test_task-00000-of-00001-4e5f.parquet"
    path.write_bytes(path.read_bytes()[:-100])


@case("mind2web", Error("has no column"))
def foreign_parquet(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"annotation_id": ["x"]}), folder / "data/test_task-00000-of-00001-4e5f.parquet")


@case("mind2web", Error("holds 1 files of train"))
def missing_parquet(folder: Path) -> None:
    (folder / "data/train-00001-of-00002-2c3d.parquet").unlink()


# --- AgentTrek: three good trajectories of eight steps ----------------------------------------------------------------


def elements(folder: Path, *added: Any) -> None:
    good = json.loads((folder / "agenttrek_1207.json").read_text())
    agenttrek.write(folder, [*added, *good])


for name, element, reason in [
    ("no_messages", {"messages": None}, "wrong field"),
    ("element_that_is_a_number", 3, "wrong field"),
    ("unknown_role", {"messages": [{"role": "tool", "content": ""}]}, "wrong field"),
    ("no_action_in_the_answer", {"messages": [{"role": "assistant", "content": "I think"}]}, "no actions"),
    ("no_goal", {"messages": [{"role": "assistant", "content": "<action>noop()</action>"}]}, "wrong field"),
    ("history_that_nobody_has", agenttrek.element("Buy shoes", ["click('99')"], "noop()"), "missing history"),
    ("unknown_browser_call", agenttrek.element("Go", [], "launch('missile')"), "unknown action"),
    ("browser_code_that_is_no_call", agenttrek.element("Go", [], "click('1') or 2"), "code is not a call"),
    ("too_many_arguments", agenttrek.element("Go", [], "goto('a', 'b')"), "broken action"),
    ("endless_scroll", agenttrek.element("Go", [], "scroll(0, 1e999)"), "broken action"),
]:

    def _element(folder: Path, element: Any = element) -> None:
        elements(folder, element)

    _element.__name__ = name
    case("agenttrek", Quarantined(reason, left=3))(_element)


@case("agenttrek", Error("breaks off after|fetch it again"))
def cut_array(folder: Path) -> None:
    path = folder / "agenttrek_1207.json"
    path.write_text(path.read_text()[:-200])


@case("agenttrek", Error("is not a JSON array"))
def object_instead_of_an_array(folder: Path) -> None:
    (folder / "agenttrek_1207.json").write_text('{"messages": []}')


@case("agenttrek", Error("is not a JSON array"))
def empty_array_file(folder: Path) -> None:
    (folder / "agenttrek_1207.json").write_text("")


@case("agenttrek", Error("goes on after"))
def two_arrays(folder: Path) -> None:
    path = folder / "agenttrek_1207.json"
    path.write_text(path.read_text() + "[]")


# --- MM-Traj: five good conversations ---------------------------------------------------------------------------------


def records(folder: Path, *added: Any) -> None:
    good = json.loads((folder / mm_traj.FILE).read_text())
    (folder / mm_traj.FILE).write_text(json.dumps([*added, *good]))


def conversation(*turns: dict[str, str]) -> dict[str, Any]:
    return {**mm_traj.record("bad", [mm_traj.FINAL]), "conversations": list(turns)}


for name, record, reason in [
    ("code_that_is_no_python", mm_traj.record("bad", ["print(visualizer("]), "code is not valid Python"),
    ("empty_code_block", mm_traj.record("bad", ["# nothing"]), "code is not a call"),
    (
        "turn_without_code",
        conversation(mm_traj.user("a"), {"role": "assistant", "content": "H"}),
        "code is not a call",
    ),
    ("two_answers_in_a_row", conversation(mm_traj.user("a"), mm_traj.turn("x()"), mm_traj.turn("x()")), "wrong field"),
    ("conversation_without_an_answer", conversation(mm_traj.user("a")), "wrong field"),
    ("record_without_an_id", {"conversations": []}, "wrong field"),
    ("image_that_is_a_number", mm_traj.record("bad", [mm_traj.FINAL], image=5), "wrong field"),
    ("image_that_is_missing", mm_traj.record("bad", [mm_traj.FINAL], image="images/gone.png"), "missing file"),
    ("image_that_climbs_out", mm_traj.record("bad", [mm_traj.FINAL], image="../../a.png"), "unsafe file name"),
    ("image_on_a_windows_drive", mm_traj.record("bad", [mm_traj.FINAL], image="C:\\a.png"), "unsafe file name"),
]:

    def _record(folder: Path, record: Any = record) -> None:
        records(folder, record)

    _record.__name__ = name
    case("mm_traj", Quarantined(reason, left=5))(_record)


@case("mm_traj", Quarantined("duplicate id", left=5))
def id_twice(folder: Path) -> None:
    records(folder, mm_traj.record("a1", [mm_traj.FINAL]))


@case("mm_traj", Error("contains no .json file"))
def no_conversations(folder: Path) -> None:
    (folder / mm_traj.FILE).unlink()


@pytest.mark.parametrize(("source", "name", "break_it", "expected"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_bad_input_is_an_error_or_counted(tmp_path, source, name, break_it, expected):
    GOOD[source](tmp_path)
    break_it(tmp_path)
    if isinstance(expected, Error):
        with pytest.raises(SourceError, match=expected.message):
            collected(source, tmp_path, **OPTIONS.get(source, {}))
        return
    found, rejected = collected(source, tmp_path, **OPTIONS.get(source, {}))
    counted = [each for each in rejected if each.reason == expected.reason]
    assert len(counted) == expected.count, [str(each) for each in rejected]
    assert len(found) == expected.left
    # What is rejected can be found again, and the message says what to do.
    assert all(each.source == source and each.file and each.row >= 1 and each.fix for each in counted)


def test_there_are_at_least_forty_kinds():
    assert len({(source, name) for source, name, _, _ in CASES}) == len(CASES) >= 40


def test_what_was_read_before_the_damage_is_not_lost(tmp_path):
    android_control.write(tmp_path)
    path = tmp_path / SHARD
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-500]))
    from tracer.sources.android_control import read

    found = []
    with pytest.raises(SourceError, match="record 3"):
        for each in read(tmp_path):
            found.append(each)
    assert [each.id for each in found] == ["android_control/0", "android_control/4"]


@pytest.mark.parametrize(
    "code",
    ["open('MARK', 'w')", "print(open('MARK', 'w').write('x'))", "visualizer(open('MARK', 'w'))",
     "exec(\"open('MARK', 'w')\")", "class A:\n    open('MARK', 'w')"],
)  # fmt: skip
def test_no_code_of_a_data_set_is_run(tmp_path, monkeypatch, code):
    monkeypatch.chdir(tmp_path)
    from tracer.sources import agenttrek as trek
    from tracer.sources import mm_traj as tools
    from tracer.sources import pyautogui

    for reader in (pyautogui.actions, trek.actions, tools.action_of):
        try:
            reader(code)
        except Refused:
            continue
    assert not (tmp_path / "MARK").exists()

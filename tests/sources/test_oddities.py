"""What other programs write besides the published formats: marks, blanks, doubled names, pictures of odd kinds."""

import io
import json
import tarfile
from codecs import BOM_UTF8
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.episodes import sample, write_raw
from tests.sources.collect import collected, data
from tests.sources.test_boundary import quick
from tests.sources.writers import agentnet, agenttrek, android_control, gui_odyssey, mind2web, mm_traj
from tracer.ingestion.ingest import check, ingest_source
from tracer.ingestion.parts import forget, parsed_options
from tracer.sources import pictures
from tracer.sources.source import Refused, SourceError, once, picture_size

WRITERS: dict[str, Any] = {
    "jsonl": lambda path: write_raw(path, sample()),
    "agentnet": agentnet.write,
    "gui_odyssey": gui_odyssey.write,
    "android_control": android_control.write,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, name):
    WRITERS[name](tmp_path)
    expected = collected(name, tmp_path)
    for file in [*tmp_path.rglob("*.json"), *tmp_path.rglob("*.jsonl")]:
        file.write_bytes(BOM_UTF8 + file.read_bytes().replace(b"\n", b"\r\n"))
    forget()
    assert collected(name, tmp_path) == expected


@pytest.mark.parametrize("blank", ["", " ", "\n\t", None])
def test_a_blank_instruction_or_task_costs_no_trajectory(tmp_path, blank):
    line = agentnet.line("u", domain=blank, natural_language_task=blank)
    for step in line["traj"]:
        step["value"]["action"] = blank
    agentnet.write(tmp_path / "agentnet", ubuntu=[line], windows=[])
    (tmp_path / "agentnet" / agentnet.WINDOWS).unlink()
    (found,), rejected = collected("agentnet", tmp_path / "agentnet", goal="natural_language_task")
    assert (rejected, found.task, found.goal) == ([], "agentnet", "Save the file of u")
    assert all(step.instruction.strip() for step in found.steps)

    episode = gui_odyssey.episode("01")
    for step in episode["steps"]:
        step["low_level_instruction"] = blank
    gui_odyssey.write(tmp_path / "odyssey", [episode])
    (odyssey,), rejected = collected("gui_odyssey", tmp_path / "odyssey")
    assert not rejected and odyssey.steps[0].instruction == "navigate home"


def test_messages_of_one_role_are_not_dropped_in_silence(tmp_path):
    element = agenttrek.element("Buy shoes", [], "click('15')")
    element["messages"] += element["messages"][1:]
    found, (rejected,) = collected("agenttrek", agenttrek.write(tmp_path, [element]), text_only=True)
    assert (found, rejected.reason) == ([], "wrong field")


def test_an_episode_that_one_file_for_all_holds_twice_is_not_chosen_in_silence(tmp_path):
    gui_odyssey.write_v1(tmp_path, archived=False)
    file = tmp_path / "all_anno.json"
    episodes = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps([*episodes, {**episodes[0], "task_info": {}}]), encoding="utf-8")
    found, (rejected,) = collected("gui_odyssey", tmp_path)
    assert (len(found), rejected.reason, rejected.id) == (2, "duplicate id", "gui_odyssey/01")


def test_another_split_does_not_need_the_random_one(tmp_path):
    gui_odyssey.write(tmp_path / "raw")
    (tmp_path / "raw/data/splits/random_split.json").unlink()
    done = ingest_source(data("gui_odyssey", tmp_path / "raw", split="app"), tmp_path / "out")
    assert done["metrics"]["trajectories"] == 3


def test_what_a_mac_packs_beside_the_files_is_no_data(tmp_path):
    write_raw(tmp_path / "raw", sample())
    mm_traj.write(tmp_path / "mm")
    for file in (*(tmp_path / "raw").rglob("*.jsonl"), tmp_path / "mm" / mm_traj.FILE):
        file.with_name(f"._{file.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    (tmp_path / "raw/train/folder.jsonl").mkdir()
    for name, folder, count in (("jsonl", "raw", 6), ("mm_traj", "mm", 5)):
        found, rejected = collected(name, tmp_path / folder)
        assert (len(found), rejected) == (count, [])


def test_an_archive_with_the_slashes_of_windows(tmp_path):
    mm_traj.write(tmp_path, [mm_traj.record("a", [mm_traj.FINAL])])
    archive = (tmp_path / "files.zip").read_bytes()
    (tmp_path / "files.zip").write_bytes(archive.replace(b"images/", b"images\\"))
    (found,), rejected = collected("mm_traj", tmp_path)
    assert not rejected and found.steps[0].image


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("screenshot", b"PNG", r"other columns: screenshot \(binary\)"),
        ("screenshot", "a.png", r"other columns: screenshot \(string\)"),
        ("action_reprs", 3, r"other columns: action_reprs \(int64\)"),
        ("annotation_id", " ", None),
        ("annotation_id", None, None),
    ],
)
def test_mind2web_columns_of_other_types_are_named(tmp_path, column, value, message):
    table = pa.Table.from_pylist([mind2web.row("t", index) for index in range(3)], schema=mind2web.schema())
    table = table.set_column(table.schema.get_field_index(column), column, pa.array([value] * 3))
    pq.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    if message is None:
        found, rejected = collected("mind2web", tmp_path)
        assert (found, [each.reason for each in rejected]) == ([], ["wrong field"] * 3)
        return
    with pytest.raises(SourceError, match=message):
        collected("mind2web", tmp_path)


def test_mind2web_damage_in_a_page_names_the_file(tmp_path):
    """The footer is whole, so that only reading meets it."""
    file = tmp_path / "train-00000-of-00001.parquet"
    mind2web.write_file(file, [mind2web.row("t", index) for index in range(3)])
    start = pq.ParquetFile(file).metadata.row_group(0).column(0).data_page_offset
    content = bytearray(file.read_bytes())
    content[4 : start + 8] = b"\xff" * (start + 4)
    file.write_bytes(content)
    with pytest.raises(SourceError, match=r"00001\.parquet is not a whole Parquet file"):
        collected("mind2web", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["goal={"], "not valid YAML"),
        (["goal=!!python/object:os.system x"], "not valid YAML"),
        (["goal=title"], "option goal .* 'title'"),
        (["images=maybe"], "option images .* 'maybe'"),
        (["cut=[]"], r"option cut .* \[\]"),
        (["colour=1"], "no option colour; it has: images, goal, labels, cut"),
    ],
)
def test_an_option_that_is_wrong_is_named_before_anything_is_read(tmp_path, options, message):
    agentnet.write(tmp_path)
    with pytest.raises(SourceError, match=message):
        check(data("agentnet", tmp_path, **parsed_options(options)))


# --- pictures --------------------------------------------------------------------------------------------------------


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


RED, BLUE = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (40, 30), "blue")
SEVERAL = {"save_all": True, "append_images": [BLUE]}


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (saved(Image.new("CMYK", (40, 30)), "JPEG"), None),
        (saved(RED.convert("P"), "PNG", transparency=0), None),
        (saved(RED.convert("LA"), "PNG"), None),
        (saved(Image.new("I;16", (40, 30)), "PNG"), None),
        (saved(RED.convert("1"), "PNG"), None),
        (saved(RED, "JPEG", progressive=True), None),
        (saved(RED, "MPO", **SEVERAL), None),  # as cameras write a JPEG with its preview
        (saved(RED, "PNG", **SEVERAL), "animated picture"),
        (saved(RED, "WEBP", **SEVERAL), "animated picture"),
        (saved(RED, "GIF"), "undecodable picture"),
        (b"", "undecodable picture"),
    ],
)
def test_pictures_of_every_kind(image, reason):
    if reason is None:
        assert picture_size(image, "it") == (40, 30)
        return
    with pytest.raises(Refused, match=reason):
        picture_size(image, "it")


def test_a_png_without_pixels_is_not_whole():
    image = saved(RED, "PNG")
    start = image.index(b"IDAT") - 4
    length = int.from_bytes(image[start : start + 4], "big") + 12
    with pytest.raises(ValueError, match="breaks off"):
        pictures.frame(image[:start] + image[start + length :])


@pytest.mark.parametrize(("side", "kept"), [(300, 1), (1200, 0)])
def test_one_picture_at_many_steps_is_read_once(tmp_path, side, kept):
    """2,000 steps of 150 bytes that name one picture of 4 MB would hold 8 GB."""
    episode = sample()[0]
    step = {**episode["steps"][0], "image": "one.png", "width": side, "height": side, "elements": None}
    noise = saved(Image.effect_noise((side, side), 90).convert("RGB"), "PNG", compress_level=0)
    write_raw(tmp_path, [{**episode, "steps": [step] * 2_000}], {"one.png": noise})
    found, rejected = quick(lambda: collected("jsonl", tmp_path))
    assert len(found) == kept
    assert {each.reason for each in rejected} == ({"record too large"} if not kept else set())


def test_a_picture_is_read_once_however_its_name_is_spelled():
    names: list[str] = []
    read = once(lambda name: names.append(name))
    for spelling in ("a/b.png", "./a/b.png", "././a/./b.png", "a//b.png"):
        read(spelling)
    assert names == ["a/b.png"]


def test_an_archive_with_numbers_out_of_range_costs_its_pictures_alone(tmp_path):
    write_raw(tmp_path, sample())
    archive = tmp_path / "train/click-two.tar"
    names = tarfile.open(archive).getnames()  # noqa: SIM115
    for field in (b"\xff" * 12, b"\x80" + b"\xff" * 11, b"\xff" * 8 + b"\xff\xff\xfe\x00"):
        damaged = bytearray(archive.read_bytes())
        second = damaged.index(names[1].encode())
        damaged[second + 124 : second + 136] = field
        header = damaged[second : second + 512]
        total = sum(header[:148]) + 8 * 32 + sum(header[156:])
        damaged[second + 148 : second + 156] = b"%06o\0 " % total
        folder = tmp_path / field.hex()
        write_raw(folder, sample())
        (folder / "train/click-two.tar").write_bytes(damaged)
        found, rejected = collected("jsonl", folder)
        assert {each.split for each in found} >= {"validation", "heldout"}
        assert {each.reason for each in rejected} == {"truncated archive"}

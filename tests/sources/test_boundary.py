"""The boundary between adapters and shards: one bad record costs one record, whatever is wrong with it.

Valid records of every adapter are mutated and ingested. Each must come out as a trajectory that the shards hold, or as
a row of the quarantine with a reason that its adapter foresaw; the good records around it stay, and ``--check`` says
the same as ingesting.
"""

import copy
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.episodes import picture, sample, write_raw
from tests.sources.collect import collected, data
from tests.sources.writers import agentnet, agenttrek, android_control, gui_odyssey, mind2web, mm_traj
from tracer import dataset, plugins
from tracer.action import Action
from tracer.ingestion.ingest import check
from tracer.ingestion.items import admitted, items, write
from tracer.ingestion.parts import PARTS, PartsError, forget, ingest_parts
from tracer.ingestion.quarantine import quarantined
from tracer.sources import boundary, pyautogui, tfrecord
from tracer.sources.boundary import DEFECT
from tracer.sources.source import SourceError
from tracer.trajectory import Step, Trajectory

INPUTS = 2_000
A_FILE = 40
"""Mutated records of one file: writing shards costs more than reading a record."""

DEEP: Any = "deep"
for _ in range(60):
    DEEP = [DEEP]
NUMBERS = [0, -1, 3, 10**30, -(2**63) - 1, 1e308, float("nan"), float("inf"), True, 0.5, 2**31]
TEXTS = [
    "", " ", "@BYTE@", "@BIG@", "@DEEP@", "\ud83d", "caf\u00e9 \U0001f642", "\0", "nan,0,5,5", "0,0,-5,5",
    "1e999,0,1,1", "../x.png", "a" * 300,
    "a/" * 3000 + "b.png", "<action>", "</action>", "<!--", "-->", "Code:\n```py\n", "```", "KEY_HOME", "9" * 5000,
    "{", '{"op": "TYPE", "value": "\\ud83d"}', '{"action_type": "click", "x": 1e400, "y": NaN}', "null", "[]",
    "pyautogui.click(x=0.5, y=" + "9" * 5000 + ")", "pyautogui.press('a', presses=100)\n" * 2500,
    "pyautogui.write(" + "-" * 3000 + "1)", "f" + ".a" * 20_000 + "()", "(" * 500, "x" + "[0]" * 5000,
    "click('1')\n" * 2000, "fill('1', '\\ud83d')", "final_answer('\\ud83d')", "print(0x" + "f" * 5000 + ")",
    "pyautogui.scroll(0x" + "f" * 5000 + ")", "computer.wait(1e400)", "pyautogui.press([['a']])",
    "pyautogui.click(x=0.1, y=0.1, button=[])", "pyautogui.click(x=0.1, y=0.1, clicks=[])",
]  # fmt: skip
VALUES = st.sampled_from([None, [], {}, [[]], [None], {"a": None}, DEEP, *NUMBERS, *TEXTS]) | st.text(max_size=6)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a record."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


@st.composite
def mutated(draw: st.DrawFn, record: Any) -> Any:
    """A record with one to three things changed, lost, doubled or moved."""
    changed = {"record": copy.deepcopy(record)}
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(changed)[1:]))
        holder: Any = changed
        for key in path[:-1]:
            holder = holder[key]
        how = draw(st.integers(0, 5))
        if how == 0 and len(path) > 1:
            del holder[path[-1]]
        elif how == 1 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[path[-1]]))
        elif how == 2 and isinstance(holder, list):
            holder.reverse()
        elif how == 3 and isinstance(holder[path[-1]], str):
            text = holder[path[-1]]
            cut = draw(st.integers(0, len(text)))
            holder[path[-1]] = text[:cut] + str(draw(st.sampled_from(TEXTS[:24]))) + text[cut:]
        elif how == 4 and isinstance(holder[path[-1]], str) and holder[path[-1]].startswith(("{", "[")):
            holder[path[-1]] = draw(inside(holder[path[-1]]))
        else:
            holder[path[-1]] = copy.deepcopy(draw(VALUES))  # or a later change would change the sample itself
    return changed["record"]


@st.composite
def inside(draw: st.DrawFn, text: str) -> str:
    """JSON in a text, mutated in turn."""
    try:
        return json.dumps(draw(mutated(json.loads(text))))
    except ValueError:
        return text


Write = Callable[[Path, list[Any]], None]
SCREEN, TREE = picture("screen", android_control.WIDTH, android_control.HEIGHT), android_control.screen()


def serialised(record: Any) -> bytes:
    """A record as JSON, with what Python's writer would not write."""
    text = json.dumps(record)
    text = text.replace('"@BIG@"', "9" * 5000).replace('"@DEEP@"', "[" * 3000 + "]" * 3000)
    return text.encode().replace(b"@BYTE@", b"\xff")


def write_jsonl(folder: Path, records: list[Any]) -> None:
    if not folder.exists():
        write_raw(folder, sample()[:1])
    (folder / "train/click-two.jsonl").write_bytes(b"\n".join(map(serialised, records)))


def write_agentnet(folder: Path, records: list[Any]) -> None:
    if not folder.exists():
        agentnet.write(folder, ubuntu=[agentnet.line("u")], windows=[agentnet.line("w")])
        (folder / agentnet.WINDOWS).unlink()
    (folder / agentnet.UBUNTU).write_bytes(b"\n".join(map(serialised, records)))


def write_android_control(folder: Path, records: list[Any]) -> None:
    folder.mkdir(exist_ok=True)
    android_control.write_splits(folder, list(range(len(records))), [], [])
    payloads = [
        android_control.example({name: list(map(_value, values)) for name, values in _features(each).items()})
        for each in records
    ]
    framed = [android_control.record(payload, google_crc32c.value) for payload in payloads]
    android_control.write_shard(folder / "android_control-00000-of-00001", framed, compressed=False)


def _features(record: Any) -> dict[str, list[Any]]:
    found = record if isinstance(record, dict) else {"goal": record}
    lists = {name: value if isinstance(value, list) else [value] for name, value in found.items()}
    # A feature holds one kind of value: that of its first.
    return {
        name.encode("utf-8", "replace").decode(): [
            each for each in values if isinstance(each, int) == isinstance(values[0], int)
        ]
        for name, values in lists.items()
    }


def _value(value: Any) -> Any:
    if isinstance(value, int):
        return value
    return {"@SCREEN@": SCREEN, "@TREE@": TREE}.get(str(value), str(value).encode("utf-8", "surrogatepass"))


def write_gui_odyssey(folder: Path, records: list[Any]) -> None:
    data = folder / "data"
    if not folder.exists():
        gui_odyssey.write(folder, [gui_odyssey.episode("0")])
    shutil.rmtree(data / "annotations")
    (data / "annotations").mkdir()
    for index, record in enumerate(records):
        (data / f"annotations/{index}.json").write_bytes(serialised(record))
    lists = {"train": [f"{index}.json" for index in range(len(records))], "test": []}
    (data / "splits/random_split.json").write_text(json.dumps(lists))


def write_mind2web(folder: Path, records: list[Any]) -> None:
    folder.mkdir(exist_ok=True)
    rows = [row for record in records for row in (record if isinstance(record, list) else [record])]
    texts = [field.name for field in mind2web.schema() if field.type == pa.string()]
    lists = [field.name for field in mind2web.schema() if field.type == pa.list_(pa.string())]
    columns: dict[str, Any] = {name: pa.array([_text(row, name) for row in rows], pa.binary()) for name in texts}
    columns = {name: column.cast(pa.binary()).view(pa.string()) for name, column in columns.items()}
    for name in lists:
        values = [_list(row, name) for row in rows]
        flat = pa.array([each for value in values for each in value or []], pa.binary()).view(pa.string())
        offsets = [0]
        for value in values:
            offsets.append(offsets[-1] + len(value or []))
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat)
    shots = [SHOT if isinstance(row, dict) and row.get("screenshot") == "@SHOT@" else None for row in rows]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns["screenshot"] = pa.array([shot and {"bytes": shot, "path": None} for shot in shots], kind)
    pq.write_table(pa.table(columns), folder / "train-00000-of-00001.parquet", row_group_size=7)


SHOT = picture("page", mind2web.WIDTH, mind2web.HEIGHT)


def _text(row: Any, name: str) -> bytes | None:
    return _bytes(row.get(name)) if isinstance(row, dict) else None


def _list(row: Any, name: str) -> list[bytes | None] | None:
    value = row.get(name) if isinstance(row, dict) else None
    return [_bytes(each) for each in value] if isinstance(value, list) else None


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text.encode("utf-8", "surrogatepass").replace(b"@BYTE@", b"\xff")


def array(name: str, write_pictures: Callable[[Path], Any]) -> Write:
    def write_array(folder: Path, records: list[Any]) -> None:
        if not folder.exists():
            write_pictures(folder)
        (folder / name).write_bytes(b"[" + b",\n".join(map(serialised, records)) + b"]")

    return write_array


def jsonl_record(index: int) -> Any:
    return {**sample()[0], "id": f"jsonl/click-two/{index}"}


def android_record(index: int) -> Any:
    episode = android_control.episode(index)
    marks = {"screenshots": "@SCREEN@", "accessibility_trees": "@TREE@"}
    return {
        name: [marks.get(name) or (each.decode() if isinstance(each, bytes) else each) for each in values]
        for name, values in episode.items()
    }


def mind2web_record(index: int) -> Any:
    rows = [mind2web.row(f"t{index}", step) for step in range(3)]
    return [{**row, "screenshot": "@SHOT@", "raw_html": ""} for row in rows]


# The adapter, what writes its records, the record of a number, its options.
ADAPTERS: dict[str, tuple[Write, Callable[[int], Any], dict[str, Any]]] = {
    "jsonl": (write_jsonl, jsonl_record, {}),
    "agentnet": (write_agentnet, lambda n: {**agentnet.line("u"), "task_id": f"u{n}"}, {"cut": True}),
    "android_control": (write_android_control, android_record, {}),
    "gui_odyssey": (
        write_gui_odyssey,
        lambda n: {**gui_odyssey.episode("0"), "episode_id": str(n)},
        {},
    ),
    "mind2web": (write_mind2web, mind2web_record, {"elements": True}),
    "agenttrek": (
        array("agenttrek_1207.json", agenttrek.write),
        lambda n: agenttrek.element(f"goal {n}", [], agenttrek.CODES[n % 4]),
        {"text_only": True},
    ),
    "mm_traj": (
        array(mm_traj.FILE, mm_traj.write),
        lambda n: mm_traj.record(f"r{n}", [mm_traj.PLAIN, mm_traj.GLUE, mm_traj.FINAL]),
        {},
    ),
}


def ingested(name: str, folder: Path, out: Path, **options: Any) -> tuple[list[Any], list[Any], dict[str, Any]]:
    """The trajectories and rejected records of a folder, as the shards and the quarantine hold them."""
    forget()
    config = data(name, folder, **options)
    stats = write(items(config), dataset.ShardWriter(out))
    return (list(dataset.read(out)) if stats["trajectories"] else []), list(quarantined(out)), stats


@pytest.mark.parametrize("inputs", [INPUTS, pytest.param(50_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_mutated_record_is_read_or_quarantined_and_nothing_else(tmp_path, name, inputs):
    write_records, record, options = ADAPTERS[name]
    count = inputs // len(ADAPTERS) // A_FILE + 1
    mutants = st.tuples(*(mutated(record(index)) for index in range(A_FILE)))

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a file of records takes minutes to shrink
    )
    @given(mutants)
    def fuzz(changed):
        records = [*changed, record(A_FILE), record(A_FILE + 1)]
        write_records(tmp_path / "raw", records)
        with tempfile.TemporaryDirectory(dir=tmp_path) as out:
            found, rejected, stats = ingested(name, tmp_path / "raw", Path(out), **options)
        assert DEFECT not in stats["rejected"]["reasons"], [str(each) for each in rejected if each.reason == DEFECT]
        assert stats["steps"] + stats["rejected"]["total"] >= len(records)
        whole = record(A_FILE + 1)
        assert any(str(A_FILE + 1) in each.id or str(A_FILE + 1) in each.goal for each in found), whole
        checked = check(data(name, tmp_path / "raw", **options))
        assert (checked["trajectories"], checked["reasons"]) == (len(found), stats["rejected"]["reasons"])

    fuzz()


# --- time ----------------------------------------------------------------------------------------------------------

LONG = 1_000_000
CODES = {
    "presses": "pyautogui.press('a', presses=100)\n" * 2500,  # 88 kB, which never ended
    "calls": "f()\n" * 20_000,
    "values": f"print(visualizer([{'1,' * 45_000}]))",
    "f-string": "f(f'" + "{1}" * 30_000 + "')",
}
TEXT_BOMBS = {"open": "<action>", "line": "\n", "fence": "Code:```\n", "blanks": " ", "comment": "<!--"}


def bombs() -> dict[str, tuple[str, Any]]:
    found: dict[str, tuple[str, Any]] = {}
    for name, code in CODES.items():
        many = [code] * (LONG // len(code))
        found[f"agentnet-{name}"] = "agentnet", {**agentnet.line("u", many), "task_id": "u0"}
        found[f"mm_traj-{name}"] = "mm_traj", mm_traj.record("r0", many)
        found[f"agenttrek-{name}"] = "agenttrek", agenttrek.element("goal", [], code)
    for name, unit in TEXT_BOMBS.items():
        text = "# x" + unit * (LONG // len(unit)) + "y"
        turns = [mm_traj.user("x"), {"role": "assistant", "content": text}]
        found[f"mm_traj-{name}"] = "mm_traj", {**mm_traj.record("r0", [mm_traj.FINAL]), "conversations": turns}
        found[f"agenttrek-{name}-history"] = "agenttrek", agenttrek.element("goal", [text], "noop()")
        asked = agenttrek.element("goal", [], "\n".join(["click('7')"] * 100))
        asked["messages"][1]["content"] = asked["messages"][1]["content"].replace("RootWeb", text + "RootWeb")
        found[f"agenttrek-{name}-tree"] = "agenttrek", asked
    return found


BOMBS = bombs()


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_megabyte_of_record_ends_within_two_seconds(tmp_path, bomb):
    name, record = BOMBS[bomb]
    write_records, _, options = ADAPTERS[name]
    write_records(tmp_path / "raw", [record])
    quick(lambda: collected(name, tmp_path / "raw", **{**options, **({"images": False} if name == "agentnet" else {})}))


@pytest.mark.parametrize("words", ["[]" + " " * LONG, "[a]" + "-> " * 300_000, "[a]" + " \n" * 400_000 + "-> x!"])
def test_a_megabyte_of_readable_target_ends_within_two_seconds(tmp_path, words):
    mind2web.write_file(
        tmp_path / "train-00000-of-00001.parquet",
        [mind2web.row("t", 0, action_reprs=["x"], target_action_reprs=words)],
    )
    assert len(quick(lambda: collected("mind2web", tmp_path))[0]) == 1


@pytest.mark.parametrize("kind", ["values", "features", "integers"])
def test_four_million_empty_values_end_within_two_seconds(tmp_path, kind):
    chunk, empty = android_control.chunk, b"\x0a\x00" * 4_000_000
    value = chunk(3, chunk(1, bytes(4_000_000))) if kind == "integers" else chunk(1, empty)
    entry = chunk(1, chunk(1, "actions") + chunk(2, value))
    payload = chunk(1, empty if kind == "features" else entry)
    android_control.write_splits(tmp_path, [0], [], [])
    framed = android_control.record(payload, google_crc32c.value)
    android_control.write_shard(tmp_path / "android_control-00000-of-00001", [framed])
    (rejected,) = quick(lambda: collected("android_control", tmp_path))[1]
    assert rejected.reason == "broken record"


def quick(body: Callable[[], Any]) -> Any:
    seconds = []
    for _ in range(3):  # a busy machine shares its caches: even a process's own time can double
        start = time.process_time()
        found = body()
        seconds.append(time.process_time() - start)
        if seconds[-1] < 2:
            return found
    raise AssertionError(seconds)


# --- what is no record's fault -------------------------------------------------------------------------------------


def test_a_defect_is_counted_and_its_traceback_logged(tmp_path, monkeypatch, caplog):
    write_agentnet(tmp_path / "raw", [agentnet.line("u"), {**agentnet.line("u"), "task_id": "v"}])
    calls = iter([KeyError("nobody foresaw this")])
    actions = pyautogui.actions

    def defective(code: str) -> Any:
        for error in calls:
            raise error
        return actions(code)

    monkeypatch.setattr(pyautogui, "actions", defective)
    found, (rejected,), stats = ingested("agentnet", tmp_path / "raw", tmp_path / "out")
    assert len(found) == 1
    assert stats["rejected"]["reasons"] == {DEFECT: 1}
    assert (rejected.row, rejected.detail) == (1, "KeyError: 'nobody foresaw this'")
    assert "Traceback" in caplog.text


def test_a_part_that_fails_for_any_reason_fails_alone(tmp_path, monkeypatch):
    android_control.write(tmp_path / "raw")
    records = tfrecord.records

    def defective(path: Path) -> Any:
        if "00000-of" in path.name:
            raise KeyError("nobody foresaw this")
        return records(path)

    monkeypatch.setattr(tfrecord, "records", defective)
    with pytest.raises(PartsError, match="1 of 2 parts"):
        ingest_parts(data("android_control", tmp_path / "raw"), tmp_path / "out")
    assert (tmp_path / "out" / PARTS / "android_control-00001-of-00002/stats.json").is_file()
    with pytest.raises(SourceError, match="KeyError: 'nobody foresaw this'; a defect of the adapter"):
        check(data("android_control", tmp_path / "raw"))


@pytest.mark.parametrize(("module", "checks"), [("tracer.sources.agentnet", 1), ("elsewhere.agentnet", 2)])
def test_a_trajectory_of_ours_is_checked_once(module, checks, tmp_path, monkeypatch):
    agentnet.write(tmp_path / "raw")
    checked = []
    monkeypatch.setattr(boundary, "check", lambda found: checked.append(found.id))
    monkeypatch.setattr(plugins, "module_of", lambda group, name: module)
    found = [each.id for each in items(data("agentnet", tmp_path / "raw")) if isinstance(each, Trajectory)]
    assert sorted(checked) == sorted(found * checks) and found


def test_a_trajectory_of_an_adapter_that_did_not_look_is_looked_at():
    step = Step(action=Action.of("wait"), instruction="wait")
    made = [Trajectory(id=f"x/{goal}", source="x", split="train", task="t", goal=goal, steps=(step,)) for goal in
            ("good", "", "\ud83d")]  # fmt: skip
    found = list(admitted("x", made))
    assert [getattr(each, "reason", "read") for each in found] == ["read", "empty field", "invalid UTF-8"]

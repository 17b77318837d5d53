"""Reading streams: four times the file takes no more memory."""

import json
import tracemalloc

import pytest

from tests.sources.writers import agentnet, agenttrek, android_control, mind2web, mm_traj
from tracer.ingestion.parts import forget
from tracer.sources.source import source


def write_agentnet(folder, times):
    lines = [agentnet.line(f"t{number}", reason="x" * 20_000, domain="os") for number in range(30 * times)]
    agentnet.write_lines(folder / agentnet.UBUNTU, lines)


def write_android_control(folder, times):
    ids = list(range(3 * times))
    android_control.write_splits(folder, ids, [], [])
    records = [android_control.record(android_control.example(android_control.episode(id)), fast_crc) for id in ids]
    android_control.write_shard(folder / "android_control-00000-of-00001", records)


def fast_crc(data):
    import google_crc32c

    return google_crc32c.value(data)


def write_mind2web(folder, times):
    rows = [mind2web.row(f"t{task}", index) for task in range(8 * times) for index in range(3)]
    mind2web.write_file(folder / "train-00000-of-00001.parquet", rows)


def write_agenttrek(folder, times):
    chains = [agenttrek.chain(f"goal {number} {'y' * 5000}", agenttrek.CODES) for number in range(10 * times)]
    agenttrek.write(folder, [each for chain in chains for each in chain])


def write_mm_traj(folder, times):
    records = [mm_traj.record(f"r{n}", [mm_traj.PLAIN, mm_traj.FINAL], answer="z" * 20_000) for n in range(40 * times)]
    (folder / mm_traj.FILE).write_text(json.dumps(records))


WRITERS = {
    "agentnet": (write_agentnet, {"images": False}),
    "android_control": (write_android_control, {}),
    "mind2web": (write_mind2web, {}),
    "agenttrek": (write_agenttrek, {"text_only": True}),
    "mm_traj": (write_mm_traj, {"images": False}),
}


def peak(name, folder, options):
    forget()
    tracemalloc.start()
    try:
        count = sum(1 for _ in source(name).read(folder, **options))
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", WRITERS)
def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, name):
    monkeypatch.setattr("tracer.sources.large_json.CHUNK", 4096)
    write, options = WRITERS[name]
    counts, peaks = [], []
    for times in (1, 1, 4):  # the first time, imports are counted too
        folder = tmp_path / f"{len(peaks)}"
        folder.mkdir()
        write(folder, times)
        count, most = peak(name, folder, options)
        counts.append(count)
        peaks.append(most)
    assert counts[2] == 4 * counts[1]
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    # What grows with the number of records is their index: ids, never texts or pictures.
    assert peaks[2] - peaks[1] < max(size / 20, 30_000), (peaks, size)

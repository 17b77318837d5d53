"""How fast the large sources are read, beside the limit of the work on the same file, and how much memory it takes.

    python -m tests.perf.bench_ingest --mb 1024 --folder /some/empty/folder

Files of the published format are generated at the size asked for, in proportions taken from the published sizes
(AndroidControl 500 KB a screen, AgentNet 4 KB a step, Mind2Web 1.3 MB a row). The limits are gunzip on AndroidControl's
shards, orjson on AgentNet's lines, and pyarrow reading every column of Mind2Web's files. Each measurement is a process
of its own, so that its peak memory is its own; speeds are of the input files, the best of ``--repeat``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TEXT = """open the “File” menu, choose Save as… and "type" a name\n\ninto it because nothing else shows on this page"""
WORDS = TEXT.split(" ")
MB = 10**6


def words(draw: random.Random, count: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(count))


def noise(draw: random.Random, width: int, height: int) -> bytes:
    """A PNG that cannot be compressed further, as a screenshot cannot once it is a PNG."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.frombytes("RGB", (width, height), draw.randbytes(3 * width * height)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def android_control(folder: Path, size: int) -> None:
    import google_crc32c

    from tests.sources.writers import android_control as writer

    draw = random.Random(1)
    screens = [noise(draw, 400, 400) for _ in range(8)]
    names = ("Button", "TextView", "ImageView", "FrameLayout", "EditText")

    def node() -> bytes:
        left, top = draw.randrange(300), draw.randrange(300)
        fields: dict[str, Any] = {
            "class_name": f"android.widget.{draw.choice(names)}",
            "package_name": "com.example.app",
        }
        if draw.random() < 0.4:
            fields["text"] = words(draw, 3)
        return writer.node((left, top, left + 60, top + 40), clickable=draw.random() < 0.3, **fields)

    forests = [writer.forest(*(node() for _ in range(150))) for _ in range(8)]
    episodes: list[list[int]] = [[], []]
    shard_bytes, number = size // 2, 0
    for shard in range(2):
        path = folder / f"android_control-0000{shard}-of-00002"
        with gzip.open(path, "wb", compresslevel=1) as file:
            written = 0
            while written < shard_bytes:
                actions = [{"action_type": "click", "x": 30 + index, "y": 40} for index in range(5)]
                features = {
                    "episode_id": [number], "goal": [words(draw, 12).encode()],
                    "screenshots": [draw.choice(screens) for _ in range(6)],
                    "accessibility_trees": [draw.choice(forests) for _ in range(6)],
                    "screenshot_widths": [400] * 6, "screenshot_heights": [400] * 6,
                    "actions": [json.dumps(action).encode() for action in actions],
                    "step_instructions": [words(draw, 8).encode() for _ in range(5)],
                }  # fmt: skip
                data = writer.record(writer.example(features), google_crc32c.value)
                file.write(data)
                episodes[shard].append(number)
                written, number = written + len(data), number + 1
    writer.write_splits(folder, [id for ids in episodes for id in ids], [], [])


def agentnet(folder: Path, size: int) -> None:
    draw = random.Random(2)

    def code() -> str:
        x, y, kind = f"{draw.random():.4f}", f"{draw.random():.4f}", draw.random()
        if kind < 0.65:
            return f"pyautogui.{'click' if kind < 0.6 else 'doubleClick'}(x={x}, y={y})"
        if kind < 0.77:
            return f"pyautogui.write(message={words(draw, 4)!r})"
        if kind < 0.90:
            return draw.choice(
                ("pyautogui.press(keys=['enter'])", "pyautogui.hotkey(['ctrl', 's'])", "computer.wait()")
            )
        moved = f"pyautogui.moveTo(x={x}, y={y})\n"
        return moved + (
            f"pyautogui.scroll(-{draw.randint(1, 20)})"
            if kind < 0.95
            else f"pyautogui.dragTo(x={y}, y={x}, button='left')"
        )

    written, number = 0, 0
    with open(folder / "agentnet_ubuntu_5k.jsonl", "wb") as file:
        while written < size:
            number += 1
            steps = [
                {"index": index, "image": f"{draw.getrandbits(128):032x}.png",
                 "value": {"code": code(), "action": words(draw, 12), "thought": words(draw, 180),
                           "observation": words(draw, 250), "reflection": words(draw, 200),
                           "last_step_correct": True, "last_step_redundant": False}}
                for index in range(18)
            ]  # fmt: skip
            texts = {"instruction": 20, "natural_language_task": 30, "actual_task": 30, "reason": 60}
            line = {
                "task_id": f"task-{number}",
                **{name: words(draw, length) for name, length in texts.items()},
                **{"task_completed": True, "alignment_score": 7, "efficiency_score": 7, "task_difficulty": 3},
                **{"domain": "os", "traj": steps},
            }
            data = json.dumps(line, ensure_ascii=False).encode() + b"\n"
            file.write(data)
            written += len(data)


def mind2web(folder: Path, size: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.sources.writers import mind2web as writer

    draw = random.Random(3)
    screens = [noise(draw, 400, 200) for _ in range(8)]
    (folder / "data").mkdir()
    negatives = [
        writer.candidate(f"{n},{n},40,20", str(n), tag="a", aria_label=words(draw, 3), data="y" * 300)
        for n in range(400)
    ]
    htmls = ["".join(f"<div id={draw.getrandbits(64)}>{words(draw, 12)}</div>" for _ in range(6000)) for _ in range(4)]
    for part in range(2):
        path = folder / "data" / f"train-0000{part}-of-00002-0a1b.parquet"
        with pq.ParquetWriter(path, writer.schema()) as file:
            task = 0
            while not path.exists() or path.stat().st_size < size // 2:
                task += 1
                html, screen = draw.choice(htmls), {"bytes": draw.choice(screens), "path": None}
                fields = {"raw_html": html, "cleaned_html": html[:90_000], "screenshot": screen}
                rows = [writer.row(f"t{part}-{task}", index, neg_candidates=negatives, **fields) for index in range(3)]
                file.write_table(pa.Table.from_pylist(rows, schema=writer.schema()))


GENERATORS: dict[str, Callable[[Path, int], None]] = {
    "android_control": android_control, "agentnet": agentnet, "mind2web": mind2web,
}  # fmt: skip


def files(name: str, folder: Path, part: str | None) -> list[Path]:
    """The large files of a source, or of one part of it."""
    patterns = {"android_control": "android_control-*", "agentnet": "*.jsonl", "mind2web": "data/*.parquet"}
    return [path for path in sorted(folder.glob(patterns[name])) if part is None or path.name == part.partition("@")[0]]


def limit(name: str, folder: Path, part: str | None) -> None:
    """The least that any reader has to do."""
    for path in files(name, folder, part):
        if name == "android_control":
            subprocess.run(["gunzip", "-c"], stdin=path.open("rb"), stdout=subprocess.DEVNULL, check=True)
        elif name == "agentnet":
            import orjson

            with path.open("rb") as file:
                for line in file:
                    orjson.loads(line)
        else:
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as parquet:
                for _ in parquet.iter_batches(batch_size=8, use_threads=False):
                    pass


def zlib_limit(name: str, folder: Path, part: str | None) -> None:
    """gunzip as Python's own zlib does it: a faster limit than the command."""
    for path in files(name, folder, part):
        with gzip.open(path, "rb") as file:
            while file.read(2**20):
                pass


def read(name: str, folder: Path, part: str | None) -> None:
    from tracer.sources.source import Rejected, source

    options = {"images": False} if name == "agentnet" else {}
    found: Iterator[Any] = source(name).read(folder, part=part, **options)  # type: ignore[call-arg]
    assert not any(isinstance(item, Rejected) for item in found)


def ingest(name: str, folder: Path, workers: int) -> None:
    from tracer.ingestion.parts import ingest_parts
    from tracer.ingestion.settings import DataConfig

    out = folder.parent / f"out-{name}-{workers}"
    shutil.rmtree(out, ignore_errors=True)
    options = {"images": False} if name == "agentnet" else {}
    ingest_parts(DataConfig(source=name, path=str(folder), options=options, workers=workers), out)
    shutil.rmtree(out)


def measured(name: str, folder: Path, what: str, part: str | None) -> None:
    """Run one measurement in this process and print its seconds and peak memory."""
    actions: dict[str, Callable[[], None]] = {
        "limit": lambda: limit(name, folder, part),
        "zlib": lambda: zlib_limit(name, folder, part),
        "read": lambda: read(name, folder, part),
        "ingest1": lambda: ingest(name, folder, 1),
        "ingest2": lambda: ingest(name, folder, 2),
    }
    warm_up(name)
    start, before = time.perf_counter(), processor_seconds()
    actions[what]()
    seconds, busy = time.perf_counter() - start, processor_seconds() - before
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print(json.dumps({"seconds": seconds, "cpu": busy, "peak_mb": peak}))


def warm_up(name: str) -> None:
    """Import what is imported late, so that files are timed and not imports."""
    import importlib

    from tracer.sources.source import source

    source(name)
    for module in (
        "orjson",
        "google_crc32c",
        "isal.igzip",
        "google.protobuf.message_factory",
        "PIL.Image",
        "tracer.ingestion.parts",
    ):
        importlib.import_module(module)
    if name == "mind2web":
        importlib.import_module("pyarrow.parquet")


def processor_seconds() -> float:
    """Of this process and the finished ones that it started."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run(name: str, folder: Path, what: str, repeat: int, part: str | None = None) -> dict[str, float]:
    """The fastest of several processes."""
    command = [
        sys.executable,
        "-m",
        "tests.perf.bench_ingest",
        "--measure",
        what,
        "--source",
        name,
        "--folder",
        str(folder),
    ]
    results = []
    for _ in range(repeat):
        done = subprocess.run(
            [*command, *(["--part", part] if part else [])], capture_output=True, text=True, check=True
        )
        results.append(json.loads(done.stdout.splitlines()[-1]))
    return min(results, key=lambda result: result["seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=int, default=1024, help="size of each source's files")
    parser.add_argument("--folder", type=Path, required=True, help="where the files are generated, and kept")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--source", choices=GENERATORS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measured(arguments.source, arguments.folder, arguments.measure, arguments.part)
        return
    from tracer.ingestion.parts import parts_of

    for name in [arguments.source] if arguments.source else GENERATORS:
        folder = arguments.folder / f"{name}-{arguments.mb}"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            GENERATORS[name](folder, arguments.mb * MB)
        size = sum(path.stat().st_size for path in files(name, folder, None)) / MB
        kinds = (
            ("limit", "zlib", "read", "ingest1", "ingest2")
            if name == "android_control"
            else ("limit", "read", "ingest1", "ingest2")
        )
        found = {what: run(name, folder, what, arguments.repeat) for what in kinds}
        part = run(name, folder, "read", 1, parts_of(name, folder, {})[0])
        print(f"{name}: {size:.0f} MB")
        for what, result in found.items():
            share, busy = (found["limit"][key] / result[key] for key in ("seconds", "cpu"))
            print(
                f"  {what:8} {size / result['seconds']:7.0f} MB/s  {share:5.0%} of the limit ({busy:.0%} by processor "
                f"time)  peak {result['peak_mb']:.0f} MB"
            )
        print(f"  two workers: {found['ingest1']['seconds'] / found['ingest2']['seconds']:.2f} times one")
        print(f"  peak memory of one part {part['peak_mb']:.0f} MB, of the whole {found['read']['peak_mb']:.0f} MB")


if __name__ == "__main__":
    main()

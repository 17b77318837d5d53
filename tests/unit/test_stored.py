"""Examples that stay in their shards, on a disk or in a store: the same ones, in the same order, in bounded memory."""

from __future__ import annotations

import errno
import pickle
import re
import shutil
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3fs import S3FileSystem

from tests import services
from tests.unit.test_dataset import many
from tracer import store
from tracer.action import Action
from tracer.dataset import COLUMNS, DatasetError, ShardWriter, find, read, shards, write_shards
from tracer.examples import examples
from tracer.ingestion.ingest import ingest_source
from tracer.ingestion.mixture import mix
from tracer.ingestion.settings import DataConfig, MixtureConfig
from tracer.settings import ConfigError
from tracer.stored import EXAMPLES, ROW_GROUPS, Stored
from tracer.trajectory import Step, Trajectory
from tracer.workers import pool

RAW = Path("data/raw")


def trajectory(number: int, steps: int, image: bytes = b"") -> Trajectory:
    step = Step(action=Action.of("wait"), instruction="wait", image=image or None)
    return Trajectory(id=f"a/{number}", source="a", split="train", task="t", goal="g", steps=(step,) * steps)


@given(many, st.integers(1, 900), st.integers(1, 900), st.integers(1, 4))
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_they_are_the_examples_that_reading_in_order_gives(tmp_path_factory, found, shard, group, horizon):
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, shard_bytes=shard, row_group_bytes=group) as writer:
        for each in found:
            writer.add(each)
    for split in {each.split for each in found}:
        expected = list(examples(read(folder, split=split), horizon))
        stored = Stored(folder, split, horizon)
        assert list(stored) == expected == stored[:]
        assert list(stored.taken(reversed(range(len(expected))))) == expected[::-1]
        assert list(pickle.loads(pickle.dumps(stored))) == expected  # what the test itself has pickled
        ids = {expected[0].trajectory}
        assert list(Stored(folder, split, horizon, ids)) == [each for each in expected if each.trajectory in ids]


def test_memory_is_bounded_by_what_is_kept_and_not_by_the_data(tmp_path: Path) -> None:
    screen, count = b"x" * 50_000, 4 * EXAMPLES
    with ShardWriter(tmp_path, row_group_bytes=400_000) as writer:
        for number in range(count):
            writer.add(trajectory(number, 1, screen + b"%d" % number))
    stored, before, most = Stored(tmp_path, "train", 5), pa.total_allocated_bytes(), 0
    tracemalloc.start()
    for each in stored:
        assert each.state.image
        most = max(most, pa.total_allocated_bytes() - before)
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert python < 1.3 * EXAMPLES * 50_000 < 0.4 * count * 50_000
    assert most < 1.5 * ROW_GROUPS * 400_000 < 0.4 * count * 50_000


def test_damage_names_the_shard_and_the_row(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, row_group_bytes=1) as writer:
        for number in range(3):
            writer.add(trajectory(number, 1, bytes(range(256)) * 40))
    (path,) = shards(tmp_path)
    stored = Stored(tmp_path, "train", 5)
    place = pq.read_metadata(path).row_group(2).column(COLUMNS.index("image")).data_page_offset
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\0" * 100)
    with pytest.raises(DatasetError, match=r"train-00000\.parquet, row 2: .*run the step `ingest` again"):
        stored[2]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[dict[str, str]]:
    with services.s3() as environment:
        yield environment


@pytest.fixture
def address(endpoint: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place in S3, and a cache of its own."""
    for name, value in endpoint.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(store.CACHE, str(tmp_path / "cache"))
    monkeypatch.setattr(store, "FREE", 0.0)
    monkeypatch.setattr(store, "_far", set())
    S3FileSystem.clear_instance_cache()
    return f"s3://{services.BUCKET}/{tmp_path.name}"


def test_shards_in_a_store_are_the_same_examples(address: str, tmp_path: Path) -> None:
    data = DataConfig(path=str(RAW), pointer="", limit=1)
    here, there = tmp_path / "here", tmp_path / "there"
    ingest_source(data, here)
    ingest_source(data.model_copy(update={"store": address}), there)
    assert not list(there.glob("train-*.parquet"))
    assert [path.name for path in shards(there)] == [path.name for path in shards(here)]
    for split in ("train", "validation"):
        assert list(Stored(there, split, 5)) == list(examples(read(here, split=split), 5))
    id = next(read(here, split="test")).id
    assert find(there, id) == find(here, id)


def test_a_killed_upload_goes_on_and_sends_nothing_twice(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_shards([trajectory(number, 2, b"%d" % number) for number in range(4)], tmp_path, shard_bytes=1)
    expected, sent = list(read(tmp_path)), []
    put = S3FileSystem.put_file

    def dies(self: S3FileSystem, local: str, remote: str, **more: object) -> None:
        if len(sent) == 2:
            sent.clear()
            raise KeyboardInterrupt
        sent.append(local)
        put(self, local, remote, **more)

    monkeypatch.setattr(S3FileSystem, "put_file", dies)
    with pytest.raises(KeyboardInterrupt):
        store.upload(tmp_path, paths, address)
    assert list(read(tmp_path)) == expected  # nothing has gone
    store.upload(tmp_path, paths, address)
    assert sent == [str(path) for path in paths[2:]]
    assert not any(path.exists() for path in paths)
    assert list(read(tmp_path)) == expected


def test_without_room_on_the_disk_shards_are_read_where_they_are(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_shards([trajectory(number, 3, b"%d" % number) for number in range(9)], tmp_path)
    expected = list(examples(read(tmp_path), 5))
    store.upload(tmp_path, paths, address)
    monkeypatch.setattr(store, "FREE", 1.0)
    assert list(Stored(tmp_path, "train", 5)) == expected
    assert not list((tmp_path / "cache").rglob("*.parquet"))
    monkeypatch.setattr(store, "FREE", 0.0)
    monkeypatch.setattr(store, "_far", set())
    assert list(Stored(tmp_path, "train", 5)) == expected
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) == 1


def test_what_is_not_what_was_uploaded_is_not_read(address: str, tmp_path: Path) -> None:
    paths = write_shards([trajectory(0, 3)], tmp_path)
    store.upload(tmp_path, paths, address)
    (there,) = shards(tmp_path)
    other = write_shards([trajectory(1, 3)], tmp_path / "other")[0].read_bytes()
    there.write_bytes(other)
    with pytest.raises(DatasetError, match="is not what was uploaded"):
        list(read(tmp_path))
    there.unlink()
    with pytest.raises(DatasetError, match="see whether the store answers"):
        Stored(tmp_path, "train", 5)


@pytest.mark.parametrize("harm", ["not a folder", "cut off", "removed"])
def test_whatever_becomes_of_the_cache_the_examples_are_the_same(address: str, tmp_path: Path, harm: str) -> None:
    paths = write_shards([trajectory(number, 3, b"%d" % number) for number in range(9)], tmp_path)
    expected, cache = list(examples(read(tmp_path), 5)), tmp_path / "cache"
    store.upload(tmp_path, paths, address)
    if harm == "not a folder":
        cache.write_text("", encoding="utf-8")
    stored = Stored(tmp_path, "train", 5)
    if harm == "cut off":  # as by a power cut: it is found when it is read, and fetched again
        (copy,) = cache.rglob("*.parquet")
        copy.write_bytes(copy.read_bytes()[:-100])
        with pytest.raises(DatasetError, match=r"the copy .*parquet was damaged and is removed: run it again"):
            list(stored)
    if harm == "removed":
        shutil.rmtree(cache)
    assert list(stored) == expected


def test_a_disk_that_fills_is_not_filled_and_not_tried_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, tries = write_shards([trajectory(number, 3) for number in range(3)], tmp_path), []

    def fills(self: S3FileSystem, remote: str, local: str, **more: object) -> None:
        tries.append(remote)
        Path(local).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(S3FileSystem, "get_file", fills)
    store.upload(tmp_path, paths, address)
    assert len(list(read(tmp_path))) == len(list(read(tmp_path))) == 3
    assert len(tries) == 1 and not list((tmp_path / "cache").rglob("*.part*"))


def fetch(folder: Path) -> int:
    return len(list(read(folder)))


@pytest.mark.slow
def test_two_processes_fetch_a_shard_once(address: str, tmp_path: Path) -> None:
    paths = write_shards([trajectory(number, 3) for number in range(3)], tmp_path)
    store.upload(tmp_path, paths, address)
    with pool(2) as processes:
        assert list(processes.map(fetch, [tmp_path] * 4)) == [3] * 4
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) == 1


class Anything(BaseHTTPRequestHandler):
    """A server that is no store, and content with everything."""

    protocol_version = "HTTP/1.1"  # a client asks whether to go on before it sends

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"<p></p>")

    do_PUT = do_HEAD = do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("where", "asked", "error", "says"),
    [
        ("s3://tracer/x", "anything", store.StoreError, "does not give back what was written"),
        ("s3://tracer/x", "http://127.0.0.1:1", store.StoreError, "s3://tracer/x: Could not connect to the endpoint"),
        ("s3://none/x", "", store.StoreError, "s3://none/x: The specified bucket does not exist; see whether"),
        ("none://tracer/x", "", ConfigError, "Unsupported filesystem: 'none'"),
        ("s3://tracer/x", "127.0.0.1:1", ConfigError, "Invalid endpoint: 127.0.0.1:1"),
    ],
)
def test_a_store_that_is_none_is_seen_before_anything_is_read_and_costs_nothing(
    address: str, where: str, asked: str, error: type[Exception], says: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder, raw = tmp_path / "shards", tmp_path / "raw"
    raw.mkdir()  # without an episode, which reading would refuse
    (path,) = write_shards([trajectory(0, 3)], folder)
    with services.listening(ThreadingHTTPServer(("127.0.0.1", 0), Anything)) as server:
        if asked:
            address = f"http://127.0.0.1:{server.server_port}" if asked == "anything" else asked
            monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        data = DataConfig(path=str(raw), pointer="", store=where)
        with pytest.raises(error, match=re.escape(says)):
            ingest_source(data, tmp_path / "out")
        with pytest.raises(store.StoreError):
            store.upload(folder, [path], where)
    assert path.exists()


def test_a_mixture_goes_into_the_store_too(address: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    ingest_source(DataConfig(path=str(RAW), pointer="", limit=1), source)
    mixture = MixtureConfig.model_validate({"sources": {"ours": {"folder": str(source)}}})
    here, there = tmp_path / "here", tmp_path / "there"
    mix(mixture, here)
    mix(mixture, there, store=address)
    assert not list(there.glob("*-*.parquet"))
    assert [path.name for path in shards(there)] == [path.name for path in shards(here)]
    assert list(read(there)) == list(read(here))

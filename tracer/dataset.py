"""The canonical record: one row per step, in Parquet shards named ``<split>-00000.parquet``.

Writing and reading stream: neither holds more than one row group per split. The bytes of a shard depend on nothing but
the trajectories, their order and the shard size, so that the same source gives the same shards.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tracer import store
from tracer.action import Action, ActionError
from tracer.lineage.digest import digest_of
from tracer.trajectory import SPLITS, Element, Step, Trajectory

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SHARD = re.compile(r"(" + "|".join(SPLITS) + r")-\d{5}\.parquet")
SHARD_BYTES = 256 * 2**20
ROW_GROUP_BYTES = 8 * 2**20
ROW_GROUP_ROWS = 512
BATCH_ROWS = 64

COLUMNS = (
    "trajectory_id", "step", "steps", "source", "split", "task", "goal", "outcome", "image", "width", "height",
    "elements", "action_type", "action", "target", "instruction", "observation",
)  # fmt: skip
ALWAYS = ("trajectory_id", "step", "steps", "source", "split", "task", "goal", "outcome", "action", "instruction")


DAMAGED = "the file is damaged: delete its folder and run the step `ingest` again"


class DatasetError(ValueError):
    """A shard that cannot be read; the message names the file, the row and the fix."""


def schema() -> pa.Schema:
    """The columns and types of a shard."""
    import pyarrow as pa

    box = pa.list_(pa.float64())  # four numbers; Arrow cannot read a fixed-size list with nulls back from Parquet
    text = [pa.field(name, pa.string(), nullable=False) for name in ("role", "text")]
    element = pa.struct(
        [*text, pa.field("box", box, nullable=False), pa.field("value", pa.string()), pa.field("state", pa.string())]
    )
    types = {
        "step": pa.int32(), "steps": pa.int32(), "width": pa.int32(), "height": pa.int32(), "image": pa.binary(),
        "elements": pa.list_(element), "target": box,
    }  # fmt: skip
    nullable = ("image", "elements", "target")
    return pa.schema([pa.field(name, types.get(name, pa.string()), nullable=name in nullable) for name in COLUMNS])


def rows(trajectory: Trajectory) -> list[dict[str, Any]]:
    """The rows of a trajectory, one per step, in order."""
    shared = {
        "trajectory_id": trajectory.id,
        "steps": len(trajectory.steps),
        "source": trajectory.source,
        "split": trajectory.split,
        "task": trajectory.task,
        "goal": trajectory.goal,
        "outcome": trajectory.outcome,
    }
    return [
        {
            **shared,
            "step": index,
            "image": step.image,
            "width": step.width,
            "height": step.height,
            "elements": None if step.elements is None else [element.to_dict() for element in step.elements],
            "action_type": step.action.type,
            "action": step.action.to_json(),
            "target": None if step.target is None else list(step.target),
            "instruction": step.instruction,
            "observation": step.observation,
        }
        for index, step in enumerate(trajectory.steps)
    ]


def content(trajectory: Trajectory) -> str:
    """A digest of all that an episode contains, its id and split included."""
    return digest_of([{**row, "image": sha256(row["image"] or b"").hexdigest()} for row in rows(trajectory)])[:16]


def trajectories_from_rows(found: Iterable[Mapping[str, Any]], where: str = "the rows") -> Iterator[Trajectory]:
    """The trajectories of rows in order, whatever batches they came in.

    Raises ``DatasetError`` for a gap or a missing end, naming ``where`` and the row (from 0).
    """
    pending: list[Mapping[str, Any]] = []
    start = 0
    for index, row in enumerate(found):
        if pending and row["trajectory_id"] != pending[0]["trajectory_id"]:
            yield _trajectory(pending, where, start)
            pending = []
        if not pending:
            start = index
        pending.append(row)
    if pending:
        yield _trajectory(pending, where, start)


def _trajectory(found: list[Mapping[str, Any]], where: str, start: int) -> Trajectory:
    first = found[0]
    order = [row["step"] for row in found]
    if order != list(range(first["steps"])):
        raise DatasetError(
            f"{where}, row {start}: trajectory {first['trajectory_id']!r} has the steps {order[:20]} where 0 to "
            f"{first['steps'] - 1} were expected; ingest its source again"
        )
    return Trajectory(
        id=first["trajectory_id"],
        source=first["source"],
        split=first["split"],
        task=first["task"],
        goal=first["goal"],
        outcome=first["outcome"],
        steps=tuple(_step(row, f"{where}, row {start + index}") for index, row in enumerate(found)),
    )


def _step(row: Mapping[str, Any], where: str) -> Step:
    try:
        action = Action.from_json(row["action"])
    except ActionError as error:
        raise DatasetError(f"{where}: {error}; correct the source and ingest it again") from error
    elements, target = row.get("elements"), row.get("target")
    return Step(
        action=action,
        instruction=row["instruction"],
        image=row.get("image"),
        width=row.get("width", 0),
        height=row.get("height", 0),
        elements=None if elements is None else tuple(map(Element.from_dict, elements)),
        target=None if target is None else tuple(target),
        observation=row.get("observation", ""),
    )


class ShardWriter:
    """Writes trajectories to shards, a row group in memory a split.

    A shard is closed once it holds ``shard_bytes``, always at a trajectory's end. It is written under a hidden name
    and renamed when it is whole, so that a file named ``<split>-00000.parquet`` is never half written. Use it in a
    ``with`` statement: an error inside leaves no unfinished shard behind.
    """

    def __init__(self, out: Path, *, shard_bytes: int = SHARD_BYTES, row_group_bytes: int = ROW_GROUP_BYTES) -> None:
        self.out = out
        self.paths: list[Path] = []
        """The finished shards, in the order in which they were finished."""
        self._shard_bytes = shard_bytes
        self._row_group_bytes = row_group_bytes
        self._open: dict[str, _Shard] = {}
        self._numbers: dict[str, int] = {}

    def __enter__(self) -> ShardWriter:
        self.out.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for split in sorted(self._open):
            if kind is None:
                self.paths.append(self._open[split].close())
            else:
                self._open[split].abandon()
        self._open.clear()

    def add(self, trajectory: Trajectory) -> None:
        """Append one trajectory to its split's shard; raises ``DatasetError`` for a trajectory without steps."""
        if not trajectory.steps or trajectory.split not in SPLITS:
            raise DatasetError(
                f"trajectory {trajectory.id!r} has {len(trajectory.steps)} steps and the split {trajectory.split!r}; "
                f"a trajectory needs a step and one of the splits {', '.join(SPLITS)}"
            )
        split = trajectory.split
        if split not in self._open:
            number = self._numbers[split] = self._numbers.get(split, -1) + 1
            self._open[split] = _Shard(self.out / f"{split}-{number:05d}.parquet", self._row_group_bytes)
        shard = self._open[split]
        for row in rows(trajectory):
            shard.add(row)
        if shard.bytes >= self._shard_bytes:
            self.paths.append(self._open.pop(split).close())


def parquet_writer(path: Path) -> pq.ParquetWriter:
    """A writer of one shard's file, with the settings that all shards share."""
    import pyarrow.parquet as pq

    plain = [name for name in COLUMNS if name not in ("image", "elements", "target")]
    return pq.ParquetWriter(
        path,
        schema(),
        compression="zstd",
        use_dictionary=[name for name in plain if name not in ("action", "instruction", "observation")],
        write_statistics=plain,
    )


class _Shard:
    def __init__(self, path: Path, row_group_bytes: int) -> None:
        self.path = path
        self.bytes = 0
        self._part = path.with_name(f".{path.name}.part")
        self._row_group_bytes = row_group_bytes
        self._rows: list[dict[str, Any]] = []
        self._pending = 0
        self._schema = schema()
        self._writer = parquet_writer(self._part)

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        # An element takes about 100 bytes beside its text; exactness does not matter, only that it never changes.
        size = len(row["image"] or b"") + len(row["observation"]) + len(row["goal"]) + 128
        size += sum(len(element["text"]) + len(element["value"]) + 100 for element in row["elements"] or ())
        self.bytes += size
        self._pending += size
        if self._pending >= self._row_group_bytes or len(self._rows) >= ROW_GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._pending = [], 0

    def close(self) -> Path:
        self._flush()
        self._writer.close()
        os.replace(self._part, self.path)
        return self.path

    def abandon(self) -> None:
        self._writer.close()
        self._part.unlink()


def write_shards(trajectories: Iterable[Trajectory], out: Path, *, shard_bytes: int = SHARD_BYTES) -> list[Path]:
    """Write trajectories to ``<split>-00000.parquet`` and on; the shards' paths, sorted."""
    with ShardWriter(out, shard_bytes=shard_bytes) as writer:
        for trajectory in trajectories:
            writer.add(trajectory)
    return sorted(writer.paths)


def shards(folder: Path, split: str | None = None) -> list[Path]:
    """The shards of a folder, of one split or all, in the order of their names; raises ``DatasetError`` for none.

    Those in a store (``data.store``) are paths of universal_pathlib, which open like others.
    """
    found = sorted(path for path in folder.glob("*.parquet") if SHARD.fullmatch(path.name)) + store.listed(folder)
    if not found:
        raise DatasetError(f"{folder} contains no shards named <split>-00000.parquet; run the step `ingest` first")
    return [path for path in found if split is None or path.name.startswith(f"{split}-")]


@contextmanager
def parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """An open shard; raises ``DatasetError`` for a foreign file, and in its body what ``unreadable`` turns into one."""
    import pyarrow.parquet as pq

    with store.opened(path) as stream, pq.ParquetFile(stream, pre_buffer=True) as file:
        missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
        if missing:
            raise DatasetError(f"{path} has no column {', '.join(missing)}; {DAMAGED}")
        yield file


def unreadable(path: Path, row: int, error: Exception) -> DatasetError:
    """The error to raise for a shard that cannot be read from that row on; ``error`` itself if it is one already."""
    if isinstance(error, DatasetError):
        return error
    if isinstance(error, store.StoreError):
        return DatasetError(f"{path}, row {row}: {error}")
    fix = DAMAGED if isinstance(path, Path) else "see whether the store answers and whether your key may read it"
    if removed := store.damaged(path):
        fix = f"the copy {removed} was damaged and is removed: run it again"
    return DatasetError(f"{path}, row {row}: {(str(error) or repr(error)).splitlines()[0]}; {fix}")


def batches(path: Path, columns: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """A shard's rows in batches; raises ``DatasetError`` for a truncated or foreign file."""
    row = 0
    try:
        with parquet(path) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=None if columns is None else list(columns)):
                yield batch
                row += batch.num_rows
    except Exception as error:
        raise unreadable(path, row, error) from error


def read(
    folder: Path,
    split: str | None = None,
    tasks: Collection[str] | None = None,
    columns: Collection[str] | None = None,
) -> Iterator[Trajectory]:
    """The trajectories of a folder of shards, in order, of one split and some tasks or all.

    ``columns`` names the optional columns to load (of ``image``, ``width``, ``height``, ``elements``, ``target``,
    ``observation``); a step is without the others, as if its source had none. Raises ``DatasetError``.
    """
    wanted = None if columns is None else [name for name in COLUMNS if name in ALWAYS or name in columns]
    for path in shards(folder, split):
        yield from (found for found in read_shard(path, wanted) if tasks is None or found.task in tasks)


def find(folder: Path, trajectory: str, split: str | None = None) -> Trajectory | None:
    """The trajectory of that id, or None, reading no more than the row groups that may contain it.

    Raises ``DatasetError``.
    """
    import pyarrow.parquet as pq

    for path in shards(folder, split):
        try:
            with store.opened(path) as stream:
                table = pq.read_table(stream, filters=[("trajectory_id", "=", trajectory)])
        except Exception as error:
            raise unreadable(path, 0, error) from error
        if table.num_rows:
            return next(trajectories_from_rows(table.to_pylist(), str(path)))
    return None


def read_shard(path: Path, columns: Collection[str] | None = None) -> Iterator[Trajectory]:
    """The trajectories of one shard; raises ``DatasetError``."""
    rows = (row for batch in batches(path, columns) for row in batch.to_pylist())
    return trajectories_from_rows(rows, str(path))

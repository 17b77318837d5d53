"""The quarantine: records that could not be ingested, each with its file, row, reason and fix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tracer.sources.source import Rejected

QUARANTINE = "quarantine.parquet"
QUARANTINE_ROWS = 256
"""Rows held in memory."""
FIX = {"mend": "fix"}
"""The file's name for a record's ``fix``, kept so that the bytes of ingested folders stay as they were."""


class QuarantineWriter:
    """Writes rejected records to one Parquet file, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> QuarantineWriter:
        import pyarrow as pa
        import pyarrow.parquet as pq

        texts = ("reason", "detail", "mend", "raw")
        named = [("source", pa.string()), ("file", pa.string()), ("row", pa.int64()), ("trajectory_id", pa.string())]
        self._schema = pa.schema([*named, *((name, pa.string()) for name in texts)])
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = pq.ParquetWriter(self._part, self._schema, compression="zstd")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            os.replace(self._part, self._path)
        else:
            self._part.unlink()

    def add(self, rejected: Rejected) -> None:
        """Append one rejected record."""
        row = {name: getattr(rejected, name) for name in ("source", "file", "row", "reason", "detail", "raw")}
        self._rows.append({**row, "trajectory_id": rejected.id, "mend": rejected.fix})
        if len(self._rows) >= QUARANTINE_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []


def quarantined(folder: Path) -> list[dict[str, Any]]:
    """The rejected records of an ingested folder, without their raw text."""
    import pyarrow.parquet as pq

    columns = ["source", "file", "row", "trajectory_id", "reason", "detail", "mend"]
    rows = pq.read_table(folder / QUARANTINE, columns=columns).to_pylist()
    return [{FIX.get(name, name): value for name, value in row.items()} for row in rows]


def rejected_records(path: Path) -> Iterator[Rejected]:
    """The rejected records of a quarantine file, whole."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            for row in batch.to_pylist():
                yield Rejected(id=row.pop("trajectory_id"), fix=row.pop("mend"), **row)

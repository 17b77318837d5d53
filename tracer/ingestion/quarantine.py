"""The quarantine: records that could not be ingested, each with its file, row, reason and fix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tracer.sources.source import Rejected

QUARANTINE = "quarantine.parquet"
QUARANTINE_ROWS = 256
"""Rows held in memory."""
COLUMNS = {
    "source": "source", "file": "file", "row": "row", "trajectory_id": "id", "reason": "reason", "detail": "detail",
    "mend": "fix", "raw": "raw",
}  # fmt: skip
"""The file's columns and the record's fields. ``mend`` is an old name, kept so that the files' bytes stay the same."""


class QuarantineWriter:
    """Writes rejected records to one Parquet file, whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._rows: list[Rejected] = []

    def __enter__(self) -> QuarantineWriter:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._schema = pa.schema([(name, pa.int64() if name == "row" else pa.string()) for name in COLUMNS])
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
        self._rows.append(rejected)
        if len(self._rows) >= QUARANTINE_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        rows = [{name: getattr(row, field) for name, field in COLUMNS.items()} for row in self._rows]
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema))
        self._rows = []


def quarantined(folder: Path) -> Iterator[Rejected]:
    """The rejected records of an ingested folder, in their order."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(folder / QUARANTINE) as file:
        for batch in file.iter_batches(batch_size=QUARANTINE_ROWS):
            for row in batch.to_pylist():
                yield Rejected(**{field: row[name] for name, field in COLUMNS.items()})

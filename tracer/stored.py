"""Examples that stay in their shards until they are asked for: the screens of a published data set fit no memory.

The order of the examples is that of the shards, wherever they are, on a disk or in a store. What training takes of
them follows from the seed alone, so that a resumed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from copy import copy
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from tracer.dataset import ALWAYS, parquet, shards, trajectories_from_rows, unreadable
from tracer.examples import Example, example

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUPS = 16
"""Kept in memory, each some 8 MB."""
EXAMPLES = 256
"""Kept in memory: an update asks for each of its states several times."""
TEXTS = [*ALWAYS, "width", "height", "target", "observation"]


class _Place(NamedTuple):
    shard: int
    row: int
    """Where the trajectory begins in the shard."""
    steps: int
    step: int


class Stored(Sequence[Example]):
    """The examples of a split, in the order of ``examples(read(folder, split), horizon)``; a slice is a list.

    ``only`` names the trajectories to take. Raises ``DatasetError`` for a shard that cannot be read, when that shows.
    """

    def __init__(self, folder: Path, split: str, horizon: int, only: Container[str] | None = None) -> None:
        self._paths = shards(folder, split)
        self._horizon = horizon
        found = list(map(_outline, self._paths))
        self._starts = [starts for starts, _ in found]
        self._places = [
            _Place(number, row, steps, step)
            for number, (_, begun) in enumerate(found)
            for row, steps, id in begun
            if only is None or id in only
            for step in range(steps)
        ]
        self._remember()

    def _remember(self) -> None:
        self._example = lru_cache(EXAMPLES)(self._read)
        self._group = lru_cache(ROW_GROUPS)(self._read_group)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_example", "_group")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._remember()

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Example: ...
    @overload
    def __getitem__(self, index: slice) -> list[Example]: ...
    def __getitem__(self, index: int | slice) -> Example | list[Example]:
        if isinstance(index, slice):
            return [self._example(place) for place in self._places[index]]
        return self._example(self._places[index])

    def taken(self, indices: Iterable[int]) -> Stored:
        """The examples with these numbers, in their order."""
        found = copy(self)
        found._places = [self._places[index] for index in indices]
        return found

    def _read(self, place: _Place) -> Example:
        path, end = self._paths[place.shard], place.row + place.steps
        rows: list[dict[str, Any]] = []
        for group, (first, last) in enumerate(pairwise(self._starts[place.shard])):
            begin, stop = max(place.row, first), min(end, last)
            if begin >= stop:
                continue
            table = self._group(place.shard, group)
            rows += table.select(TEXTS).slice(begin - first, stop - begin).to_pylist()
            shown = place.row + place.step
            if begin <= shown < stop:
                seen = table.select(["image", "elements"]).slice(shown - first, 1).to_pylist()[0]
        rows[place.step].update(seen)
        (trajectory,) = trajectories_from_rows(rows, f"{path} from row {place.row}")
        return example(trajectory, place.step, self._horizon)

    def _read_group(self, shard: int, group: int) -> pa.Table:
        path = self._paths[shard]
        try:
            with parquet(path) as file:
                return file.read_row_group(group)
        except Exception as error:
            raise unreadable(path, self._starts[shard][group], error) from error


def _outline(path: Path) -> tuple[list[int], list[tuple[int, int, str]]]:
    """Of a shard: the rows at which its row groups begin, and the last one's end; and where its trajectories begin.

    Of a trajectory: row, number of steps, id.
    """
    try:
        with parquet(path) as file:
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            columns = file.read(columns=["step", "steps", "trajectory_id"]).to_pydict()
    except Exception as error:
        raise unreadable(path, 0, error) from error
    every = enumerate(zip(columns["step"], columns["steps"], columns["trajectory_id"], strict=True))
    return [0, *accumulate(counts)], [(row, steps, id) for row, (step, steps, id) in every if step == 0]

"""The canonical shards: what is written comes back equal, in the same bytes, whatever the sizes."""

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracer.action import COORDINATES, DIRECTIONS, GRAMMAR, STATUSES, Action
from tracer.dataset import COLUMNS, DatasetError, ShardWriter, read, rows, schema, trajectories_from_rows, write_shards
from tracer.trajectory import OUTCOMES, SPLITS, Element, Step, Trajectory

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
fractions = st.floats(0, 1)
boxes = st.tuples(fractions, fractions, fractions, fractions)
json_values = st.dictionaries(texts, st.none() | st.booleans() | st.integers(-9, 9) | texts, max_size=3)
elements = st.builds(Element, role=texts, text=texts, box=boxes, value=texts, state=texts)


def value_of(name: str) -> st.SearchStrategy:
    if name in COORDINATES:
        return fractions
    if name in ("amount", "seconds"):
        return st.floats(0, 1e6)
    named = {"direction": st.sampled_from(DIRECTIONS), "status": st.sampled_from(STATUSES), "arguments": json_values}
    return named.get(name, texts.filter(bool))


@st.composite
def actions(draw: st.DrawFn) -> Action:
    kind = draw(st.sampled_from(sorted(GRAMMAR)))
    required, optional = GRAMMAR[kind]
    names = required + (optional if draw(st.booleans()) else ())
    return Action.of(kind, **{name: draw(value_of(name)) for name in names})


steps = st.builds(
    Step,
    action=actions(),
    instruction=texts,
    image=st.none() | st.binary(max_size=40),
    width=st.integers(0, 9999),
    height=st.integers(0, 9999),
    elements=st.none() | st.lists(elements, max_size=3).map(tuple),
    target=st.none() | boxes,
    observation=texts,
)
trajectories = st.builds(
    Trajectory,
    id=texts,
    source=texts,
    split=st.sampled_from(SPLITS),
    task=texts,
    goal=texts,
    steps=st.lists(steps, min_size=1, max_size=4).map(tuple),
    outcome=st.sampled_from(OUTCOMES),
)
many = st.lists(trajectories, min_size=1, max_size=6, unique_by=lambda trajectory: trajectory.id)


@given(many, st.integers(1, 2000), st.integers(1, 2000))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_written_comes_back_equal(tmp_path_factory, written, shard_bytes, row_group_bytes):
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, shard_bytes=shard_bytes, row_group_bytes=row_group_bytes) as writer:
        for trajectory in written:
            writer.add(trajectory)
    for split in SPLITS:
        assert list(read(folder, split)) == [trajectory for trajectory in written if trajectory.split == split]


@given(trajectories)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_rows_and_back(trajectory):
    assert list(trajectories_from_rows(rows(trajectory))) == [trajectory]


def trajectory(number: int, split: str = "train", steps: int = 3, image: bytes = b"p" * 1000) -> Trajectory:
    step = Step(action=Action.of("click", x=0.1, y=0.2), instruction='click the button "One"', image=image)
    return Trajectory(
        id=f"t/{number}", source="t", split=split, task=f"task-{number % 2}", goal="Click.", steps=(step,) * steps
    )


def test_the_same_trajectories_give_the_same_bytes(tmp_path):
    written = [trajectory(number) for number in range(20)]
    first = write_shards(written, tmp_path / "a", shard_bytes=9000)
    second = write_shards(iter(written), tmp_path / "b", shard_bytes=9000)
    assert len(first) > 3
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_trajectory_never_spans_two_shards_and_row_groups_stay_small(tmp_path):
    with ShardWriter(tmp_path, shard_bytes=50_000, row_group_bytes=4000) as writer:
        for number in range(40):
            writer.add(trajectory(number, steps=7))
    for path in writer.paths:
        ids = pq.read_table(path, columns=["trajectory_id"])["trajectory_id"].to_pylist()
        assert len(ids) % 7 == 0
        metadata = pq.read_metadata(path)
        assert metadata.num_row_groups > 1
        assert max(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)) <= 4


def test_columns_are_the_documented_ones(tmp_path):
    [path] = write_shards([trajectory(0)], tmp_path)
    assert pq.read_schema(path).equals(schema())
    assert tuple(pq.read_schema(path).names) == COLUMNS


def test_read_selects_splits_tasks_and_columns(tmp_path):
    write_shards([trajectory(0), trajectory(1), trajectory(2, "test")], tmp_path)
    assert [found.id for found in read(tmp_path, "test")] == ["t/2"]
    assert [found.id for found in read(tmp_path, tasks={"task-0"})] == ["t/2", "t/0"]
    light = next(read(tmp_path, "train", columns=["elements"]))
    assert light.steps[0].image is None
    assert light.steps[0].action == Action.of("click", x=0.1, y=0.2)


def test_an_error_while_writing_leaves_no_shard_of_that_moment(tmp_path):
    def broken():
        yield trajectory(0)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_shards(broken(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_shard_names_the_file_and_the_fix(tmp_path):
    [path] = write_shards([trajectory(0)], tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"train-00000\.parquet, row 0: .*run the step `ingest` again"):
        list(read(tmp_path))


def test_a_damaged_page_inside_a_shard_names_the_file(tmp_path):
    [path] = write_shards([trajectory(0, image=bytes(range(256)) * 40)], tmp_path)
    content = bytearray(path.read_bytes())
    content[100:400] = bytes(300)
    path.write_bytes(bytes(content))
    with pytest.raises(DatasetError, match=r"train-00000\.parquet, row 0"):
        list(read(tmp_path))


def test_a_shard_of_other_columns_is_refused(tmp_path):
    import pyarrow as pa

    pq.write_table(pa.table({"goal": ["Click."]}), tmp_path / "train-00000.parquet")
    with pytest.raises(DatasetError, match=r"train-00000\.parquet has no column trajectory_id"):
        list(read(tmp_path))


def test_a_gap_in_the_steps_names_the_row_and_the_trajectory():
    found = rows(trajectory(0)) + rows(trajectory(1))
    del found[4]
    with pytest.raises(DatasetError, match=r"shard, row 3: trajectory 't/1' has the steps \[0, 2\] where 0 to 2"):
        list(trajectories_from_rows(found, "shard"))


def test_an_empty_folder_names_the_step_to_run(tmp_path):
    with pytest.raises(DatasetError, match="run the step `ingest` first"):
        list(read(tmp_path))


def test_a_trajectory_without_steps_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="'t/0' has 0 steps"):
        write_shards([trajectory(0, steps=0)], tmp_path)

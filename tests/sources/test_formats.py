"""The low-level readers: TFRecord, the protobuf wire, long JSON arrays; against independent writers and on noise."""

import contextlib
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.writers import android_control as writer
from tests.strategies import patient
from tracer.sources import large_json, protobuf, tfrecord
from tracer.sources.source import Refused, SourceError

VALUES = st.one_of(
    st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    st.lists(st.integers(-(1 << 63), (1 << 63) - 1), min_size=1, max_size=4),
)


def test_crc32c_of_the_standards_test_vector():
    # RFC 3720, B.4: 32 bytes of zeros; and the check value of the CRC catalogue.
    assert writer.crc32c(bytes(32)) == 0x8A9136AA
    assert writer.crc32c(b"123456789") == 0xE3069283


@patient
@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=8), st.booleans())
def test_records_come_back(tmp_path_factory, payloads, compressed):
    path = tmp_path_factory.mktemp("records") / "shard"
    writer.write_shard(path, map(writer.record, payloads), compressed)
    assert [(found.payload, found.intact) for found in tfrecord.records(path)] == [(each, True) for each in payloads]


@patient
@given(st.binary(min_size=1, max_size=300), st.integers(min_value=0), st.integers(0, 7))
def test_one_turned_bit_is_always_noticed(tmp_path_factory, payload, place, bit):
    data = bytearray(writer.record(payload))
    data[place % len(data)] ^= 1 << bit
    path = tmp_path_factory.mktemp("records") / "shard"
    path.write_bytes(gzip.compress(bytes(data)))
    try:
        assert [found.intact for found in tfrecord.records(path)] == [False]
    except SourceError as error:
        assert "fetch the shard again" in str(error)


@patient
@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=5))
def test_examples_come_back(features):
    assert protobuf.example(writer.example(features)) == features


def test_integers_that_are_not_packed():
    unpacked = writer.chunk(3, writer.number(1, 5) + writer.number(1, -3))
    entry = writer.chunk(1, writer.chunk(1, "episode_id") + writer.chunk(2, unpacked))
    assert protobuf.example(writer.chunk(1, entry)) == {"episode_id": [5, -3]}


@patient
@given(st.binary(max_size=200))
def test_noise_is_no_example_or_an_example_and_never_anything_else(data):
    with contextlib.suppress(protobuf.WireError):
        assert isinstance(protobuf.example(data), dict)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("indent", [None, 2])
def test_long_arrays_are_read_as_json_reads_them(tmp_path_factory, monkeypatch, chunk, indent):
    monkeypatch.setattr(large_json, "CHUNK", chunk)
    path = tmp_path_factory.mktemp("array") / "a.json"

    @patient
    @given(st.lists(JSON, max_size=8))
    def compare(values):
        path.write_text(json.dumps(values, indent=indent, ensure_ascii=False))
        found = list(large_json.array(path))
        assert [each.value for each in found] == values
        assert [json.loads(each.raw) for each in found] == values

    compare()


@patient
@given(st.lists(JSON, min_size=1, max_size=5), st.integers(min_value=1))
def test_a_cut_array_gives_what_lies_before_the_cut(tmp_path_factory, values, cut):
    text = json.dumps(values)
    path = tmp_path_factory.mktemp("array") / "a.json"
    path.write_text(text[: -(cut % (len(text) - 1)) or -1])
    found = []
    with pytest.raises(SourceError, match="fetch it again"):
        for element in large_json.array(path):
            found.append(element.value)
    assert len(found) <= len(values)
    assert all(one == other for one, other in zip(found[:-1], values, strict=False))


@pytest.mark.parametrize("chunk", [1, 1 << 20])
@pytest.mark.parametrize(
    "bad",
    ["[" * 3000 + "]" * 3000, '{"a": ' * 3000 + '"]}\\"' + '"' + "}" * 3000, "9" * 5000, '{"a": -' + "9" * 5000 + "}"],
)
def test_an_element_that_python_cannot_read_costs_itself(tmp_path, monkeypatch, chunk, bad):
    monkeypatch.setattr(large_json, "CHUNK", chunk)
    path = tmp_path / "a.json"
    path.write_text(f'[1, {bad} , "]"]', encoding="utf-8")
    first, second, third = large_json.array(path)
    assert (first.value, second.raw, third.value) == (1, bad, "]")
    if bad[-1] in "]}" and "9" not in bad:
        with pytest.raises(Refused, match="nested too deeply"):
            second.record()

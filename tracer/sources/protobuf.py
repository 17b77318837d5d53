"""The protobuf messages that data sets are written in, as far as they are read.

An Example (tensorflow/core/example/{example,feature}.proto) is megabytes of pictures in a dozen fields: it is read
from the wire here, so that a picture is copied once. An accessibility forest (android_env/proto/a11y/*.proto) is
thousands of small fields, for which protobuf's own parser is made; its classes are built from the table below.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# message -> field -> (number, type); a type in brackets is repeated, another message's name is a message. Fields that
# are not listed are skipped.
ACCESSIBILITY = {
    "Rect": {"left": (1, "int32"), "top": (2, "int32"), "right": (3, "int32"), "bottom": (4, "int32")},
    "Node": {
        "bounds_in_screen": (2, "Rect"),
        "class_name": (3, "string"),
        "content_description": (4, "string"),
        "hint_text": (5, "string"),
        "text": (7, "string"),
        "is_checkable": (12, "bool"),
        "is_checked": (13, "bool"),
        "is_clickable": (14, "bool"),
        "is_editable": (15, "bool"),
        "is_focused": (18, "bool"),
        "is_long_clickable": (19, "bool"),
        "is_selected": (22, "bool"),
        "is_visible_to_user": (23, "bool"),
        "tooltip_text": (31, "string"),
    },
    "Tree": {"nodes": (1, "[Node]")},
    "Window": {"layer": (4, "int32"), "tree": (11, "Tree")},
    "Forest": {"windows": (1, "[Window]")},
}


class WireError(ValueError):
    """Bytes that are no protobuf message."""


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The numbers and values of a message's fields: an integer, or the bytes of anything longer.

    Raises ``WireError``.
    """
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        if kind == BYTES:
            size, at = _varint(data, at)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"wire type {kind} at byte {at}")
        if at + size > len(data):
            raise WireError(f"a field of {size} bytes at byte {at} of {len(data)}")
        yield number, data[at : at + size]
        at += size


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise WireError("it breaks off in a number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise WireError(f"a number of over ten bytes at byte {at}")


def messages_in(data: memoryview, number: int) -> Iterator[memoryview]:
    """The bytes of every field of one number; raises ``WireError``."""
    for found, value in fields(data):
        if found == number:
            if isinstance(value, int):
                raise WireError(f"field {number} is a number")
            yield value


def example(payload: bytes) -> dict[str, list[Any]]:
    """The features of a serialised tf.train.Example: bytes or integers, by name; raises ``WireError``."""
    found: dict[str, list[Any]] = {}
    for features in messages_in(memoryview(payload), 1):
        for entry in messages_in(features, 1):  # a map is a repeated message of key and value
            for key in messages_in(entry, 1):
                values = found[_key(key)] = []
                for feature in messages_in(entry, 2):
                    values += _values(feature)
    return found


def _key(key: memoryview) -> str:
    try:
        return bytes(key).decode()
    except UnicodeDecodeError as error:
        raise WireError("a feature's name is not valid UTF-8") from error


def _values(feature: memoryview) -> Iterator[Any]:
    for number, values in fields(feature):
        if isinstance(values, int):
            raise WireError(f"field {number} of a feature is a number")
        if number == 1:
            yield from (bytes(value) for value in messages_in(values, 1))
        elif number == 3:
            yield from _integers(values)


def _integers(values: memoryview) -> Iterator[int]:
    for number, value in fields(values):
        if number == 1 and isinstance(value, int):
            yield _signed(value)
        elif number == 1 and isinstance(value, memoryview):
            at = 0
            while at < len(value):
                each, at = _varint(value, at)
                yield _signed(each)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


@cache
def forest_class() -> Any:
    """The message class of an AndroidAccessibilityForest."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="tracer.proto", package="tracer", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in ACCESSIBILITY.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = kinds.LABEL_REPEATED if kind.startswith("[") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            kind = kind.strip("[]")
            if kind in ACCESSIBILITY:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".tracer.{kind}"
            else:
                added.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tracer.Forest"))

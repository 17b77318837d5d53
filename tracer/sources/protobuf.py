"""The protobuf messages that data sets are written in, as far as they are read.

The classes are built from the table below: an Example of TensorFlow (tensorflow/core/example/{example,feature}.proto),
and an accessibility forest of Android (android_env/proto/a11y/*.proto).
"""

from __future__ import annotations

from functools import cache
from typing import Any

# message -> field -> (number, type); a type in brackets is repeated, another message's name is a message. Fields that
# are not listed are skipped.
MESSAGES = {
    "BytesList": {"value": (1, "[bytes]")},
    "Int64List": {"value": (1, "[int64]")},
    "Feature": {"bytes_list": (1, "BytesList"), "int64_list": (3, "Int64List")},
    "Entry": {"key": (1, "string"), "value": (2, "Feature")},  # a map is a repeated message of key and value
    "Features": {"feature": (1, "[Entry]")},
    "Example": {"features": (1, "Features")},
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


MAX_FEATURES, MAX_VALUES = 1_000, 100_000
"""Of one Example, far beyond the longest episode: empty values cost two bytes each, and packed almost none."""


class WireError(ValueError):
    """Bytes that are not the protobuf message that they should be."""


def example(payload: bytes) -> dict[str, list[Any]]:
    """The features of a serialised tf.train.Example: bytes or integers, by name; raises ``WireError``."""
    features = read("Example", payload).features.feature
    if len(features) > MAX_FEATURES:
        raise WireError(f"it has {len(features)} features, over {MAX_FEATURES}")
    count = sum(len(entry.value.bytes_list.value) + len(entry.value.int64_list.value) for entry in features)
    if count > MAX_VALUES:
        raise WireError(f"it has {count} values, over {MAX_VALUES}")
    return {entry.key: [*entry.value.bytes_list.value, *entry.value.int64_list.value] for entry in features}


def read(name: str, data: bytes) -> Any:
    """A message of the table; raises ``WireError``."""
    from google.protobuf.message import DecodeError

    try:
        return _classes()[name].FromString(data)
    except DecodeError as error:
        raise WireError(str(error)) from error


@cache
def _classes() -> dict[str, Any]:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="tracer.proto", package="tracer", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            label = kinds.LABEL_REPEATED if kind.startswith("[") else kinds.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            kind = kind.strip("[]")
            if kind in MESSAGES:
                added.type, added.type_name = kinds.TYPE_MESSAGE, f".tracer.{kind}"
            else:
                added.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tracer.{name}")) for name in MESSAGES}

"""Writes AndroidControl as it is published: TFRecord, protobuf and masked CRC-32C, from their specifications.

Shares no code with the readers: the checksum is computed bit by bit, the protobuf messages are put together by hand.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.episodes import picture

WIDTH, HEIGHT = 108, 240


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFF


def masked(data: bytes, crc: Any = crc32c) -> bytes:
    value = crc(data)
    return struct.pack("<I", ((value >> 15 | value << 17 & 0xFFFFFFFF) + 0xA282EAD8) & 0xFFFFFFFF)


def record(payload: bytes, crc: Any = crc32c) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + masked(length) + payload + masked(payload, crc)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, data: bytes | str) -> bytes:
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def feature(values: list[Any]) -> bytes:
    """A Feature: bytes_list (1) or packed int64_list (3)."""
    if values and isinstance(values[0], int):
        return chunk(3, chunk(1, b"".join(map(varint, values))))
    return chunk(1, b"".join(chunk(1, value) for value in values))


def example(features: dict[str, list[Any]]) -> bytes:
    entries = (chunk(1, chunk(1, name) + chunk(2, feature(values))) for name, values in features.items())
    return chunk(1, b"".join(entries))


def node(box: tuple[int, int, int, int], **fields: Any) -> bytes:
    """An AndroidAccessibilityNodeInfo; numbers of its .proto file, and a few that a reader has to skip."""
    numbers = {
        "class_name": 3, "content_description": 4, "hint_text": 5, "package_name": 6, "text": 7, "checked": 13,
        "clickable": 14, "editable": 15, "focused": 18, "visible": 23, "unique_id": 1, "depth": 27, "tooltip": 31,
    }  # fmt: skip
    rect = b"".join(number(index, value) for index, value in enumerate(box, 1) if value)
    given = {"unique_id": 7, "package_name": "com.example", "visible": True, "depth": 3, **fields}
    texts = (chunk(numbers[name], value) for name, value in given.items() if isinstance(value, str))
    numeric = (number(numbers[name], int(value)) for name, value in given.items() if not isinstance(value, str))
    return chunk(2, rect) + b"".join([*texts, *numeric])


def forest(*nodes: bytes) -> bytes:
    tree = b"".join(chunk(1, each) for each in nodes)
    window = chunk(1, number(3, WIDTH) + number(4, HEIGHT)) + number(4, 1) + chunk(5, "window") + chunk(11, tree)
    return chunk(1, window)


def screen() -> bytes:
    """Two buttons and a field; a hidden node, one off the screen, and one that says and does nothing."""
    return forest(
        node((0, 0, WIDTH, HEIGHT), class_name="android.widget.FrameLayout"),
        node((10, 20, 60, 40), class_name="android.widget.Button", text="Save", clickable=True),
        node((0, 10, 108, 60), class_name="android.widget.LinearLayout", clickable=True),
        node((10, 100, 100, 120), class_name="android.widget.EditText", text="draft", hint_text="Title", editable=True),
        node((10, 20, 60, 40), class_name="android.widget.TextView", text="hidden", visible=False),
        node((200, 20, 260, 40), class_name="android.widget.TextView", text="off the screen"),
    )


ACTIONS: list[dict[str, Any]] = [
    {"action_type": "open_app", "app_name": "Notes"},
    {"action_type": "click", "x": 30, "y": 30},
    {"action_type": "scroll", "direction": "down"},
    {"action_type": "input_text", "text": "milk"},
    {"action_type": "long_press", "x": 50, "y": 110},
    {"action_type": "navigate_back"},
    {"action_type": "navigate_home"},
    {"action_type": "wait"},
]


def episode(id: int, actions: list[dict[str, Any]] | None = None) -> dict[str, list[Any]]:
    actions = ACTIONS if actions is None else actions
    screens = len(actions) + 1
    features: dict[str, list[Any]] = {
        "episode_id": [id],
        "goal": [f"Note the milk, round {id}".encode()],
        "screenshots": [picture(f"{id}-{index}", WIDTH, HEIGHT) for index in range(screens)],
        "accessibility_trees": [screen() for _ in range(screens)],
        "screenshot_widths": [WIDTH] * screens,
        "screenshot_heights": [HEIGHT] * screens,
        "actions": [json.dumps(action).encode() for action in actions],
        "step_instructions": [f"step {index}".encode() for index in range(len(actions))],
    }
    return {name: values for name, values in features.items() if values}  # an empty list is left out, as published


def write_shard(path: Path, records: Iterable[bytes], compressed: bool = True) -> None:
    data = b"".join(records)
    path.write_bytes(gzip.compress(data, 1, mtime=0) if compressed else data)


def write_splits(folder: Path, train: list[int], validation: list[int], test: list[int]) -> None:
    splits = {"train": train, "validation": validation, "test": test}
    (folder / "splits.json").write_text(json.dumps(splits))
    subsplits = {"IDD": test[:1], "app_unseen": test[:2], "task_unseen": test[1:]}
    (folder / "test_subsplits.json").write_text(json.dumps(subsplits))


def write(folder: Path) -> Path:
    """Two shards of three episodes each: 0 to 3 train, 4 validation, 5 and 6 test; episode 3 has no action."""
    folder.mkdir(parents=True, exist_ok=True)
    write_splits(folder, [0, 1, 2, 3], [4], [5, 6])
    for shard, ids in enumerate(([0, 4, 1], [5, 2, 3, 6])):
        episodes = (episode(id, [] if id == 3 else None) for id in ids)
        write_shard(folder / f"android_control-0000{shard}-of-00002", (record(example(each)) for each in episodes))
    return folder

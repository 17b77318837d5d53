"""AndroidControl (google-research/android_control): phone demonstrations in 20 gzipped TFRecord shards.

    <path>/android_control-00000-of-00020 ...   one tf.train.Example an episode
    <path>/splits.json                          {"train": [episode ids], "validation": [...], "test": [...]}
    <path>/test_subsplits.json                  {"IDD": [...], "app_unseen": [...], ...}, since August 2024

Clicks are pixels of their screenshot. A scroll's published direction is that of the view over its content; ours is
the finger's, its opposite. There is no terminate action, and none is added. Rules by which we derive what is not
published: *smallest node*: the target of a click is the smallest element that holds its point; *enter*: the action
``type`` of an earlier release clicks, types and presses Enter, so that it becomes two steps on one screen; *first
sub-split*: the task of a test episode is the first sub-split in the file's order that lists it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tracer.action import Action
from tracer.instruction import describe
from tracer.sources import protobuf, tfrecord
from tracer.sources.actions import ANDROID_CONTROL
from tracer.sources.boundary import MAX_STEPS, Origin, too_many_steps
from tracer.sources.source import Refused, Rejected, SourceError, json_object, on_screen, said, screen, split_lists
from tracer.trajectory import Element, Step, Trajectory, element_at

NAME = "android_control"
SHARD = re.compile(r"android_control-\d{5}-of-(\d{5})")
SPLITS = ("train", "validation", "test")
PUBLISHED = {
    "trajectories": 15_283,
    "steps": 83_848,
    "splits.train.trajectories": 13_603,
    "splits.validation.trajectories": 137,
    "splits.test.trajectories": 1_543,
    "splits.test.steps": 8_444,
}
MAX_NODES = 20_000
FIX = "fetch the shard again, or leave the episode out"


def parts(path: Path) -> list[str]:
    """The shards' names; raises ``SourceError`` for a missing one."""
    names = sorted(file.name for file in path.iterdir() if SHARD.fullmatch(file.name)) if path.is_dir() else []
    if not names:
        raise SourceError(f"{path} contains no shard android_control-00000-of-00020; fetch the data set there")
    total = int(names[0].rpartition("-")[2])
    expected = {f"android_control-{number:05d}-of-{total:05d}" for number in range(total)}
    if expected != set(names):
        missing = sorted(expected - set(names))[:3]
        raise SourceError(f"{path} holds {len(names)} shards of {total}: {', '.join(missing)} ... missing; fetch them")
    return names


def read(path: Path, part: str | None = None, elements: bool = True) -> Iterator[Trajectory | Rejected]:
    """The episodes of one shard or all, in the shards' order.

    ``elements`` reads the accessibility trees: the visible nodes that say something or can be acted on.
    """
    splits = _splits(path)
    for name in parts(path) if part is None else [part]:
        for number, record in enumerate(tfrecord.records(path / name), 1):
            # The goal is what a reader can recognise an episode by; its pictures are no use in a quarantine.
            origin = Origin(source=NAME, file=name, row=number, raw=partial(_raw, record.payload))
            yield origin.read(partial(_trajectory, record, splits, elements))


def _features(record: tfrecord.Record) -> dict[str, list[Any]]:
    if not record.intact:
        raise Refused("wrong CRC", "the record's bytes do not have the CRC of its frame", FIX)
    try:
        return protobuf.example(record.payload)
    except protobuf.WireError as error:
        raise Refused("broken record", f"it is not a tf.train.Example: {error}", FIX) from error


def _raw(payload: bytes) -> str:
    return f"{len(payload)} bytes, beginning {payload[:200]!r}"


def _trajectory(
    record: tfrecord.Record, splits: dict[int, tuple[str, str]], elements: bool, origin: Origin
) -> Trajectory:
    features = _features(record)
    episode = _one(features, "episode_id", int)
    origin.id = f"{NAME}/{episode}"
    if episode not in splits:
        raise Refused("unknown split", f"splits.json does not list episode {episode}", "fetch splits.json again")
    split, task = splits[episode]
    actions = features.get("actions") or []
    if not actions:
        raise Refused("no actions", "the episode has no action", "nothing to fix: it is published so")
    origin.steps = len(actions)
    if len(actions) > MAX_STEPS:
        raise too_many_steps(len(actions))
    screens = len(actions) + 1
    expected: dict[str, tuple[int, type]] = {
        "actions": (len(actions), bytes), "step_instructions": (len(actions), bytes), "screenshots": (screens, bytes),
        "screenshot_widths": (screens, int), "screenshot_heights": (screens, int),
        **({"accessibility_trees": (screens, bytes)} if elements else {}),
    }  # fmt: skip
    for name, (count, kind) in expected.items():
        values = features.get(name) or []
        if len(values) != count or not all(type(value) is kind for value in values):
            detail = f"{len(values)} {name} for {len(actions)} actions, not {count} of {kind.__name__}"
            raise Refused("wrong number of values", detail, FIX)
    steps: list[Step] = []
    for index in range(len(actions)):
        steps += _steps(features, index, elements)
    goal = _text(_one(features, "goal", bytes), "goal")
    return origin.trajectory(steps, split=split, task=task, goal=goal)


def _steps(features: dict[str, list[Any]], index: int, elements: bool) -> Iterator[Step]:
    shown = screen(features["screenshots"][index], f"screenshot {index}")
    size = shown["width"], shown["height"]
    stated = (features["screenshot_widths"][index], features["screenshot_heights"][index])
    if size != stated:
        detail = f"screenshot {index} is {size[0]} x {size[1]}, the record says {stated[0]} x {stated[1]}"
        raise Refused("wrong picture size", detail, FIX)
    listed = _elements(features["accessibility_trees"][index], size, index) if elements else None
    action, enter = _action(features["actions"][index], size, index)
    aimed = element_at(action.point, listed) if action.point else None
    target = None if aimed is None or listed is None else listed[aimed]
    words = said(_text(features["step_instructions"][index], "step instruction")) or describe(action, target, listed)
    shown["elements"] = listed
    yield Step(action=action, instruction=words, target=target.box if target else None, **shown)
    if enter:
        key = Action.of("key", key="Enter")
        yield Step(action=key, instruction=describe(key), **shown)


def _action(raw: bytes, size: tuple[int, int], index: int) -> tuple[Action, bool]:
    """The action, and whether an Enter follows it."""
    fields = json_object(raw, f"action {index}", FIX, reason="broken action")
    kind = fields.pop("action_type", None)
    return ANDROID_CONTROL.canonical(kind, fields, size), kind == "type"


def _elements(forest: bytes, size: tuple[int, int], index: int) -> tuple[Element, ...]:
    try:
        windows = protobuf.read("Forest", forest).windows
    except protobuf.WireError as error:
        raise Refused("broken accessibility tree", f"screen {index}: {error}", FIX) from error
    if sum(len(window.tree.nodes) for window in windows) > MAX_NODES:
        raise Refused("too many elements", f"screen {index} has over {MAX_NODES} nodes", "leave the episode out")
    found = (_element(node, size) for window in windows for node in window.tree.nodes if node.is_visible_to_user)
    return tuple(element for element in found if element is not None)


def _element(node: Any, size: tuple[int, int]) -> Element | None:
    """A node that says something or can be acted on, and is on the screen; else None."""
    editable = node.is_editable
    own = node.text
    text = node.content_description or node.hint_text or own if editable else own or node.content_description
    if not text and not (editable or node.is_clickable or node.is_checkable or node.is_long_clickable):
        return None
    bounds = node.bounds_in_screen
    box = on_screen(bounds.left, bounds.top, bounds.right, bounds.bottom, size)
    if box is None:
        return None
    states = (("checked", node.is_checked), ("focused", node.is_focused), ("selected", node.is_selected))
    return Element(
        role=node.class_name.rpartition(".")[2].lower() or "view",
        text=text or node.tooltip_text,
        box=box,
        value=own if editable else "",
        state=" ".join(word for word, holds in states if holds),
    )


def _one(features: dict[str, list[Any]], name: str, kind: type) -> Any:
    values = features.get(name) or []
    if len(values) != 1 or not isinstance(values[0], kind):
        raise Refused("wrong number of values", f"{name} has {len(values)} values of its type, not 1", FIX)
    return values[0]


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Refused("invalid UTF-8", f"{name}: {error}", FIX) from error


def _splits(path: Path) -> dict[int, tuple[str, str]]:
    splits, subsplits = path / "splits.json", path / "test_subsplits.json"
    return _listed(splits, subsplits if subsplits.is_file() else None)


@lru_cache(maxsize=4)
def _listed(splits: Path, subsplits: Path | None) -> dict[int, tuple[str, str]]:
    """Each episode's split and task."""
    found: dict[int, tuple[str, str]] = {}
    for split, ids in split_lists(splits, int).items():
        if split not in SPLITS:
            raise SourceError(f"{splits} has the split {split!r}; it holds {', '.join(SPLITS)}; fetch it again")
        for id in ids:
            if id in found:
                raise SourceError(f"{splits}: episode {id} is in {found[id][0]} and {split}; fetch it again")
            found[id] = (split, NAME)
    tasks = {} if subsplits is None else split_lists(subsplits, int)
    for task, ids in reversed(tasks.items()):
        for id in ids:
            if found.get(id, ("", ""))[0] == "test":
                found[id] = ("test", task)
    return found

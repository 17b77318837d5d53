"""GUI-Odyssey (OpenGVLab, GUIOdyssey): phone demonstrations over several apps, both releases.

    <path>/[data/]annotations/<episode>.json     or zips/annotations.zip, or all_anno.json (v1)
    <path>/[data/]screenshots/<episode>_<step>.png   flat, in sub-folders, in screenshots.z01 ... screenshots.zip (v2),
                                                 or in zips/screenshots_01, _02, ..., one archive cut by bytes (v1)
    <path>/[data/]splits/{random,app,device,task}_split.json   {"train": ["<episode>.json", ...], "test": [...]}

Coordinates are thousandths of the screen, directions the finger's; the point of a click is published twice, and the
first counts. Actions are decoded as by the official converter (data/format_converter.py, decode_action): a path's
longer axis decides its direction, ties go vertical. A scroll keeps its start and direction; the rest of its path has no
place in our actions. The target is ``sam2_bbox`` (v2), a model's segment around the point. Where the point lies outside
it, the model found something else, and the target is unknown; the official metric, too, takes either.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from tracer.action import Action
from tracer.instruction import describe
from tracer.sources import large_json
from tracer.sources.actions import GUI_ODYSSEY
from tracer.sources.boundary import MAX_STEPS, Origin, check_numbers, too_many_steps
from tracer.sources.source import Refused, Rejected, SourceError, json_object, once, said, split_lists
from tracer.sources.store import Store, archives, store
from tracer.trajectory import Box, Step, Trajectory, inside

NAME = "gui_odyssey"
PUBLISHED = {"trajectories": 8_334}  # of v2; v1 has 7,735
PART_EPISODES = 200
ALL = "all_anno.json"
KEYS = {"KEY_HOME": "PRESS_HOME", "KEY_BACK": "PRESS_BACK", "KEY_APPSELECT": "PRESS_RECENT"}
PLAIN = {"TEXT": "TYPE", "TYPE": "TYPE", "COMPLETE": "COMPLETE", "INCOMPLETE": "IMPOSSIBLE"}
FIX = "fetch the episode again, or leave it out"

Split = Literal["random", "app", "device", "task"]


def parts(path: Path, split: Split = "random") -> list[str]:
    """Groups of episodes in the order of their names, ``episodes@<number>``."""
    groups = -(-len(_splits(_root(path), split)) // PART_EPISODES)
    return [f"episodes@{number:05d}" for number in range(groups)]


def read(path: Path, part: str | None = None, split: Split = "random") -> Iterator[Trajectory | Rejected]:
    """The episodes of one group or all that the chosen official split lists."""
    root = _root(path)
    splits = _splits(root, split)
    names = sorted(splits)
    if part is not None:
        start = int(part.partition("@")[2]) * PART_EPISODES
        names = names[start : start + PART_EPISODES]
    together = _all(root / ALL)
    annotations = _store(root, "annotations", "zips/annotations*.zip", ALL)
    pictures = _store(root, "screenshots", "screenshots/*.zip", "zips/screenshots*")
    for name in names:
        id = f"{NAME}/{name.removesuffix('.json')}"
        origin = Origin(source=NAME, file=f"annotations/{name}", row=1, id=id)
        yield origin.read(partial(_trajectory, together, annotations, pictures, splits[name], name))


def _store(root: Path, name: str, *patterns: str) -> Store:
    """The files of a folder and of the archives under the root; raises ``SourceError`` where there is neither."""
    found = tuple(group for pattern in patterns for group in archives(root, pattern) if pattern != ALL)
    looked_for = f"{name}/, {', '.join(patterns)}"
    if not found and not (root / name).is_dir() and not (ALL in patterns and (root / ALL).is_file()):
        raise SourceError(f"{root} holds no {name}; looked for: {looked_for}; fetch them there")
    return store(root / name, found, looked_for)


def _episode(raw: bytes, name: str) -> dict[str, Any]:
    if not raw:
        raise Refused("empty file", f"{name} is empty", FIX)
    episode = json_object(raw.removeprefix(BOM_UTF8), name, FIX)
    if episode.get("episode_id") != name.removesuffix(".json"):
        raise Refused("wrong field", f"episode_id is {str(episode.get('episode_id'))[:80]!r} in {name}", FIX)
    return episode


def _trajectory(
    together: Mapping[str, list[bytes]], annotations: Store, pictures: Store, split: str, name: str, origin: Origin
) -> Trajectory:
    raw, *others = together[name] if name in together else [annotations.get(name)]
    origin.raw = lambda: raw
    if others:
        raise Refused("duplicate id", f"{ALL} holds {origin.id} {len(others) + 1} times", "keep one of the episodes")
    episode = _episode(raw, name)
    info = _field(episode, "task_info", dict)
    steps = _field(episode, "steps", list)
    origin.steps = len(steps)
    if not steps or len(steps) != episode.get("step_length"):
        raise Refused("wrong number of values", f"{len(steps)} steps, step_length {episode.get('step_length')}", FIX)
    if len(steps) > MAX_STEPS:
        raise too_many_steps(len(steps))
    check_numbers([step.get("step") if isinstance(step, dict) else None for step in steps])
    shown = once(pictures.screen)
    found = [_step(step, shown) for step in steps]
    task, goal = (_field(info, name, str) for name in ("category", "instruction"))
    outcome = found[-1].action.get("status", "unknown")
    return origin.trajectory(found, split=split, task=task, goal=goal, outcome=outcome)


def _step(step: dict[str, Any], shown: Callable[[str], dict[str, Any]]) -> Step:
    action = decoded(step.get("action"), step.get("info"))
    target = _target(step.get("sam2_bbox"))
    if target and action.point and not inside(action.point, target):
        target = None
    return Step(
        action=action,
        instruction=said(step.get("low_level_instruction")) or describe(action),
        target=target,
        **shown(_field(step, "screenshot", str)),
    )


def decoded(name: Any, info: Any) -> Action:
    """Our action of a published one; raises ``Refused``."""
    if name in ("CLICK", "LONG_PRESS") and isinstance(info, str) and info in KEYS:
        return GUI_ODYSSEY.canonical(KEYS[info], {})
    if name in ("CLICK", "LONG_PRESS"):
        x, y = _points(info, (1, 2), name)[0]
        return GUI_ODYSSEY.canonical(name, {"x": x, "y": y})
    if name == "SCROLL":
        (x1, y1), (x2, y2) = _points(info, (2,), name)
        across, along = x2 - x1, y2 - y1
        sideways, upright = "left" if across < 0 else "right", "up" if along < 0 else "down"
        direction = sideways if abs(across) > abs(along) else upright
        return GUI_ODYSSEY.canonical("SCROLL", {"direction": direction, "x": x1, "y": y1})
    official = PLAIN.get(name) if isinstance(name, str) else None
    return GUI_ODYSSEY.canonical(official or name, {"text": info} if official == "TYPE" else {})


def _points(info: Any, counts: tuple[int, ...], name: str) -> list[list[float]]:
    points = info if isinstance(info, list) else []
    whole = all(isinstance(point, list) and len(point) == 2 for point in points)
    if len(points) not in counts or not whole or not all(type(v) in (int, float) for point in points for v in point):
        raise Refused("broken action", f"{name} has the info {str(info)[:80]!r}, not {max(counts)} points", FIX)
    if not all(0 <= value <= 1000 for point in points for value in point):
        raise Refused("coordinate off the screen", f"{name} at {points}; coordinates are 0 to 1000", FIX)
    return points


def _target(box: Any) -> Box | None:
    if not box:  # absent in v1, [] for actions without an element
        return None
    if not isinstance(box, list) or len(box) != 4 or not all(type(value) in (int, float) for value in box):
        raise Refused("broken box", f"sam2_bbox is {str(box)[:80]!r}", FIX)
    left, top, right, bottom = (value / 1000 for value in box)
    if not (0 <= left <= right <= 1 and 0 <= top <= bottom <= 1):
        raise Refused("broken box", f"sam2_bbox {box} is inverted or off the screen", FIX)
    return (left, top, right, bottom)


def _field(record: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(record.get(name), kind):
        raise Refused("wrong field", f"{name} is {str(record.get(name))[:80]!r}, not a {kind.__name__}", FIX)
    return record[name]


def _root(path: Path) -> Path:
    root = path / "data" if (path / "data" / "splits").is_dir() else path
    if not (root / "splits").is_dir():
        raise SourceError(f"{path} holds neither splits/ nor data/splits/; fetch the data set there")
    return root


@lru_cache(maxsize=4)
def _splits(root: Path, split: str) -> dict[str, str]:
    """The split of each annotation file."""
    path = root / "splits" / f"{split}_split.json"
    lists = split_lists(path, str)
    if not set(lists) <= {"train", "test"} or not any(lists.values()):
        raise SourceError(f"{path} is not an object with the lists train and test; fetch it again")
    found: dict[str, str] = {}
    for name, names in lists.items():
        for file in names:
            if file in found:
                raise SourceError(f"{path} lists {file!r} twice, in {found[file]} and {name}; fetch it again")
            found[file] = name
    return found


@lru_cache(maxsize=1)
def _all(path: Path) -> dict[str, list[bytes]]:
    """The episodes of v1's one file for all (34 MB), by the name of the file that each would be."""
    found: dict[str, list[bytes]] = defaultdict(list)
    if path.is_file() and not (path.parent / "annotations").is_dir():
        for each in large_json.array(path):
            if isinstance(each.value, dict):
                found[f"{each.value.get('episode_id')}.json"].append(each.encoded())
    return dict(found)

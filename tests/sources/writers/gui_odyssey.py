"""Writes GUI-Odyssey as it is published: v2's folders, or v1's archives and sub-folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.episodes import picture
from tests.sources.writers import split_zip

STEPS: list[tuple[str, Any]] = [
    ("CLICK", "KEY_HOME"),
    ("CLICK", [[500, 120]]),
    ("LONG_PRESS", [[250, 750]]),
    ("SCROLL", [[500, 800], [520, 200]]),
    ("SCROLL", [[800, 500], [200, 520]]),
    ("TEXT", "milk: two"),
    ("CLICK", "KEY_BACK"),
    ("CLICK", "KEY_APPSELECT"),
    ("COMPLETE", ""),
]


def episode(id: str, steps: list[tuple[str, Any]] | None = None, v2: bool = True) -> dict[str, Any]:
    found = []
    for index, (action, info) in enumerate(STEPS if steps is None else steps):
        made = {"step": index, "screenshot": f"{id}_{index}.png", "action": action, "info": info, "ps": ""}
        if v2:
            x, y = info[0] if action in ("CLICK", "LONG_PRESS") and isinstance(info, list) else (0, 0)
            box = [x - 50, y - 20, x + 50, y + 20] if x else []
            made |= {"description": "d", "intention": "i", "context": "c", "low_level_instruction": f"do {index}"}
            made["sam2_bbox"] = box
        found.append(made)
    return {
        "episode_id": id,
        "device_info": {"product": "x", "release_version": "14", "sdk_version": "34", "h": 240, "w": 108,
                        "device_name": "Pixel 7 Pro"},
        "task_info": {"category": "Multi_Apps", "app": ["Notes"], "meta_task": "m", "task": "t",
                      "instruction": f"Note the milk, {id}"},
        "step_length": len(found),
        "steps": found,
    }  # fmt: skip


def pictures_of(episodes: list[dict[str, Any]]) -> dict[str, bytes]:
    return {step["screenshot"]: picture(step["screenshot"], 108, 240) for each in episodes for step in each["steps"]}


def write_splits(folder: Path, ids: list[str]) -> None:
    folder.mkdir(parents=True)
    lists = {"train": [f"{id}.json" for id in ids[:-1]], "test": [f"{id}.json" for id in ids[-1:]]}
    (folder / "random_split.json").write_text(json.dumps(lists))
    (folder / "app_split.json").write_text(json.dumps({"train": lists["test"], "test": lists["train"]}))


def write(folder: Path, episodes: list[dict[str, Any]] | None = None) -> Path:
    """v2: everything in folders below ``data``."""
    episodes = (
        [episode("01"), episode("02"), episode("03", [*STEPS[:3], ("INCOMPLETE", "")])]
        if episodes is None
        else episodes
    )
    data = folder / "data"
    write_splits(data / "splits", [each["episode_id"] for each in episodes])
    (data / "annotations").mkdir()
    (data / "screenshots").mkdir()
    for each in episodes:
        (data / "annotations" / f"{each['episode_id']}.json").write_text(json.dumps(each))
    for name, data_ in pictures_of(episodes).items():
        (data / "screenshots" / name).write_bytes(data_)
    return folder


def write_v1(folder: Path, archived: bool) -> Path:
    """v1: annotations in an archive and screenshots in sub-folders, or one file for all and screenshots in archives."""
    episodes = [episode(id, v2=False) for id in ("01", "02", "03")]
    write_splits(folder / "splits", ["01", "02", "03"])
    pictures = pictures_of(episodes)
    (folder / "zips").mkdir()
    if archived:
        files = {f"annotations/{each['episode_id']}.json": json.dumps(each).encode() for each in episodes}
        split_zip.write(folder / "zips" / "annotations.zip", files)
        for number, (name, data) in enumerate(pictures.items()):
            target = folder / "screenshots" / f"data_{number % 3}" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    else:
        (folder / "all_anno.json").write_text(json.dumps(episodes, indent=1))
        split_zip.write(folder / "zips" / "screenshots_0.zip", {f"screenshots/{n}": d for n, d in pictures.items()})
    return folder

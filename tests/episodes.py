"""Small raw episodes, written by hand: no code of the readers under test takes part."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

WIDTH, HEIGHT = 160, 210


def picture(text: str, width: int = WIDTH, height: int = HEIGHT, format: str = "PNG") -> bytes:
    """A picture that differs with its text."""
    image = Image.new("RGB", (width, height), "white")
    ImageDraw.Draw(image).text((4, 4), text, fill="black")
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def episode(split: str, number: int, task: str = "click-two") -> dict[str, Any]:
    """Two clicks: a button, then another; the screens carry the number, so that no two episodes share a state."""
    name = f"jsonl/{task}/{number}"
    boxes = {"One": [0.1, 0.2, 0.4, 0.3], "Two": [0.5, 0.2, 0.9, 0.3]}
    elements = [{"role": "button", "text": text, "box": box, "value": "", "state": ""} for text, box in boxes.items()]

    def step(index: int, text: str) -> dict[str, Any]:
        left, top, right, bottom = boxes[text]
        return {
            "image": f"{task}-{number}-{index}.png",
            "width": WIDTH,
            "height": HEIGHT,
            "elements": elements,
            "action": {"type": "click", "x": (left + right) / 2, "y": (top + bottom) / 2},
            "target": boxes[text],
            "instruction": f'click the button "{text}"',
        }

    return {
        "id": name,
        "source": "jsonl",
        "task": task,
        "seed": number,
        "split": split,
        "goal": f'Click "One", then "Two", in round {number}.',
        "outcome": "success",
        "steps": [step(0, "One"), step(1, "Two")],
    }


def pictures_of(episodes: list[dict[str, Any]]) -> dict[str, bytes]:
    names = (step["image"] for line in episodes for step in line["steps"] if step["image"])
    return {name: picture(name) for name in names}


def write_tar(path: Path, pictures: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in pictures.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_raw(folder: Path, episodes: list[dict[str, Any]], pictures: dict[str, bytes] | None = None) -> Path:
    """``<folder>/<split>/<task>.jsonl`` beside its archive, for every split and task of the episodes."""
    for split, task in sorted({(line["split"], line["task"]) for line in episodes}):
        lines = [line for line in episodes if (line["split"], line["task"]) == (split, task)]
        place = folder / split
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{task}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        own = pictures_of(lines)
        write_tar(place / f"{task}.tar", {name: (pictures or {}).get(name, own[name]) for name in own})
    return folder


def sample() -> list[dict[str, Any]]:
    """Three training episodes and one of every other split."""
    splits = ("train", "train", "train", "validation", "test", "heldout")
    return [episode(split, number) for number, split in enumerate(splits)]

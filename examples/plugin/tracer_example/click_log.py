"""A source: click logs. One CSV file per session, and the screenshots that it names beside it.

    image,x,y,label        x and y in pixels of the image
    home.png,40,100,Orders

The file's name is the goal: ``open my orders.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from tracer.action import Action
from tracer.sources.source import Refused, Rejected, SourceError, checked_name, picture_size
from tracer.trajectory import Step, Trajectory

NAME = "click_log"
FIX = "correct the line, or delete the session"


def read(path: Path, split: str = "train") -> Iterator[Trajectory | Rejected]:
    """One trajectory per session. ``split`` is the split that they all belong to."""
    sessions = sorted(path.glob("*.csv"))
    if not sessions:
        raise SourceError(f"{path} contains no .csv file; name the folder of the click logs")
    for session in sessions:
        with open(session, encoding="utf-8", newline="") as file:
            steps: list[Step] = []
            reader = csv.DictReader(file)
            try:
                steps += [_step(row, path) for row in reader]
            except Refused as error:
                yield Rejected.of(error, source=NAME, file=session.name, row=reader.line_num)
                continue
        yield Trajectory(
            id=f"{NAME}/{session.stem}",
            source=NAME,
            split=split,
            task="clicks",
            goal=session.stem,
            steps=tuple(steps),
        )


def _step(row: dict[str, str], folder: Path) -> Step:
    try:
        image = (folder / checked_name(row["image"])).read_bytes()
        width, height = picture_size(image, row["image"])
        action = Action.of("click", x=int(row["x"]) / width, y=int(row["y"]) / height)
    except (KeyError, OSError, ValueError) as error:
        raise Refused("unreadable click", f"{row}: {error}", FIX) from error
    return Step(action=action, instruction=f'click "{row["label"]}"', image=image, width=width, height=height)

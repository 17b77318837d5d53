"""A source: click logs. One CSV file per session, and the screenshots that it names beside it.

    image,x,y,label        x and y in pixels of the image
    home.png,40,100,Orders

The file's name is the goal: ``open my orders.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tracer.action import Action
from tracer.sources.boundary import Origin
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
        origin = Origin(source=NAME, file=session.name, row=1, id=f"{NAME}/{session.stem}")
        yield origin.read(partial(_trajectory, session, split))


def _trajectory(session: Path, split: str, origin: Origin) -> Trajectory:
    with open(session, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        steps = []
        for row in reader:
            origin.row = reader.line_num
            steps.append(_step(row, session.parent))
    return Trajectory(
        id=origin.id,
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

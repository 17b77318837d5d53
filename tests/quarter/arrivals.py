"""What arrives in a team's quarter: recordings, cut from the sample data, and what can be wrong with them."""

from __future__ import annotations

import copy
import json
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.episodes import write_raw

Episode = dict[str, Any]
PAGES = (
    "click-checkboxes-transfer", "click-collapsible-2-nodelay", "click-tab-2", "login-user-popup", "phone-book",
    "read-table",
)  # fmt: skip
"""Pages whose episodes are short."""
BEGUN_WITH = 4
"""Episodes of training a page that the data has before the first week."""


class Recordings:
    """The sample data, which the weeks take their episodes from."""

    def __init__(self, raw: Path) -> None:
        self.raw = raw
        self._taken = BEGUN_WITH

    def begin(self, to: Path) -> None:
        """Write what the team begins with: all held-out episodes, and a few of training."""
        for split in ("train", "validation", "test"):
            self._write(to, [each for page in PAGES for each in self._of(split, page)])

    def _of(self, split: str, page: str) -> list[Episode]:
        lines = (self.raw / split / f"{page}.jsonl").read_text(encoding="utf-8").splitlines()
        every = [json.loads(line) for line in lines]
        return every[:BEGUN_WITH] if split == "train" else every

    def next(self, to: Path) -> list[Episode]:
        """One episode a page that nobody has seen, as a folder."""
        found = [json.loads(self._lines(page)[self._taken]) for page in PAGES]
        self._taken += 1
        self._write(to, found)
        return found

    def seen(self) -> list[Episode]:
        """Every episode of training until now."""
        return [json.loads(line) for page in PAGES for line in self._lines(page)[: self._taken]]

    def _lines(self, page: str) -> list[str]:
        return (self.raw / "train" / f"{page}.jsonl").read_text(encoding="utf-8").splitlines()

    def changed(self, to: Path, episodes: Iterable[Episode], change: Callable[[Episode], None], name: str) -> None:
        """The same episodes under other ids, each of them edited."""
        every = copy.deepcopy(list(episodes))
        for each in every:
            each["id"] += f"-{name}"
            change(each)
        self._write(to, every)

    def _write(self, to: Path, episodes: list[Episode]) -> None:
        for split, page in sorted({(each["split"], each["task"]) for each in episodes}):
            with tarfile.open(self.raw / split / f"{page}.tar") as archive:
                pictures = {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]
            write_raw(to, [each for each in episodes if (each["split"], each["task"]) == (split, page)], pictures)


def as_they_are(episode: Episode) -> None:
    """New ids alone."""


def unlike(episode: Episode) -> None:
    """Goals ten times as long as anything before."""
    episode["goal"] = " ".join([episode["goal"]] * 10)


def wrong(episode: Episode) -> None:
    """Somebody who always clicks on the first thing of the page, whatever the goal is."""
    for step in episode["steps"]:
        if step["action"]["type"] == "click" and step["elements"]:
            left, top, right, bottom = step["target"] = step["elements"][0]["box"]
            step["action"] |= {"x": (left + right) / 2, "y": (top + bottom) / 2}


def corrupt(folder: Path) -> None:
    """Every third line cut off, as a broken upload leaves them."""
    for path in sorted(folder.rglob("*.jsonl"))[::3]:
        path.write_text(path.read_text(encoding="utf-8")[:-200], encoding="utf-8")

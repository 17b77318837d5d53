"""Record scripted demonstrations on MiniWoB++ pages into the raw interchange format.

For each page and split two files: ``<out>/<split>/<page>.jsonl``, one episode per line, and ``<page>.tar``, the
screenshots the episodes name. The same seeds give the same goals, elements and actions; pixels can differ slightly.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.environments.browser import identity
from tracer.json_files import read_json, write_json
from tracer.settings import ConfigError
from tracer.sources.recording import add_member, step_record
from tracer.trajectory import SPLITS, Step
from tracer.workers import pool, starting

IDENTITY = "browser.json"
ATTEMPTS = 4
"""How many seeds are tried, at most, for each episode asked for."""


class OtherEpisodes(RuntimeError):
    """A folder that contains other episodes of a page than were asked for; the message names the file."""


class NoDemonstrator(ConfigError):
    """A page that nothing here can play; the message names those that can be."""


class BrowserChanged(RuntimeError):
    """A folder whose recordings were made with another browser or other fonts; the message names both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSummary:
    """What recording one page came to."""

    page: str
    split: str
    episodes: int
    """Episodes in the file."""
    steps: int
    failures: int
    """Seeds at which the demonstrator failed, whether recorded or not."""
    bytes: int
    """Size of the two files."""
    kept: bool = False
    """True where a finished file was found and left as it was (``failures`` is then unknown, 0)."""

    def __str__(self) -> str:
        mean = self.steps / self.episodes if self.episodes else 0.0
        note = ", found there and kept" if self.kept else f", {self.failures} failed seeds"
        size = f"{self.bytes / 1e6:.2f} MB"
        return f"{self.split}/{self.page}: {self.episodes} episodes, {mean:.1f} steps each, {size}{note}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    page: str
    seeds: tuple[int, ...]
    out: Path
    split: str

    @property
    def lines(self) -> Path:
        """The page's episodes."""
        return self.out / self.split / f"{self.page}.jsonl"

    @property
    def images(self) -> Path:
        """Their screenshots."""
        return self.lines.with_suffix(".tar")


def record(
    pages: Sequence[str], seeds: Sequence[int], out: Path | str, split: str, *, workers: int = 1
) -> list[PageSummary]:
    """Play every page at every seed and write ``<out>/<split>/<page>.{jsonl,tar}``; prints a line per page.

    A seed at which the demonstrator fails is skipped, and the seeds after the last one are tried in its place. A page
    whose files exist is left alone, so an interrupted recording continues where it stopped. ``workers`` processes each
    run a browser of their own; one worker is this process, in which no other ``Browser`` may be open.

    Raises ``BrowserMissing``, ``BrowserChanged``, ``OtherEpisodes``, ``NoDemonstrator``, and ``ValueError`` for an
    unknown split.
    """
    from tracer.environments.demonstrators import DEMONSTRATORS

    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; splits are {', '.join(SPLITS)}")
    unknown = [page for page in pages if page not in DEMONSTRATORS]
    if unknown:
        raise NoDemonstrator(
            f"no demonstrator plays {', '.join(unknown)}; there are: {', '.join(sorted(DEMONSTRATORS))}"
        )
    _claim(Path(out))
    jobs = [_Job(page=page, seeds=tuple(seeds), out=Path(out), split=split) for page in pages]
    for job in jobs:
        _check_kept(job)
    summaries = []
    if workers == 1:
        for job in jobs:
            summaries.append(_record_page(job))
            print(summaries[-1], flush=True)
        return summaries
    with pool(workers) as processes:
        with starting():
            futures = [processes.submit(_record_page, job) for job in jobs]
        for future in as_completed(futures):
            summaries.append(future.result())
            print(summaries[-1], flush=True)
    return sorted(summaries, key=lambda summary: pages.index(summary.page))


def _claim(out: Path) -> None:
    """Note in ``<out>/browser.json`` what pages are recorded with; raises ``BrowserChanged`` if that was another."""
    path, found = out / IDENTITY, identity()
    recorded = read_json(path) if path.is_file() else found
    if recorded != found:
        raise BrowserChanged(
            f"{out} was recorded with {recorded}, and this machine has {found}: pages may be laid out differently. "
            f"Record into another folder"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, found)


def _check_kept(job: _Job) -> None:
    """Raise ``OtherEpisodes`` where a finished page, which would be kept, is not what this recording would make."""
    path = job.lines
    if not (path.is_file() and job.images.is_file()):
        return
    found = [episode["seed"] for episode in json_lines.iterate(path)]
    last = job.seeds[-1] + (ATTEMPTS - 1) * len(job.seeds) if job.seeds else 0
    if len(found) != len(job.seeds) or not all(job.seeds[0] <= seed <= last for seed in found):
        has = f"{len(found)} episodes of the seeds {min(found)} to {max(found)}" if found else "no episode"
        asked = f"{len(job.seeds)} from seed {job.seeds[0]} on" if job.seeds else "none"
        raise OtherEpisodes(
            f"{path} contains {has}, and asked for are {asked}: nothing was recorded. Record into another folder, or "
            f"delete the file and {job.images.name}"
        )


def _record_page(job: _Job) -> PageSummary:
    from tracer.environments.browser import Browser
    from tracer.environments.demonstrators import demonstrate
    from tracer.environments.miniwob import MiniWob
    from tracer.environments.performance import DemonstrationFailed, Performance

    if job.lines.is_file() and job.images.is_file():
        return _summary(job, failures=0, kept=True)

    episodes: list[dict[str, Any]] = []
    images: dict[str, bytes] = {}
    failures = 0
    seeds = list(job.seeds)
    if seeds:
        following = seeds[-1] + 1
        seeds += range(following, following + (ATTEMPTS - 1) * len(job.seeds))
    with Browser() as browser, MiniWob(browser, job.page) as environment:
        for seed in seeds:
            if len(episodes) == len(job.seeds):
                break
            performance = Performance(environment, seed)
            with contextlib.suppress(DemonstrationFailed):
                demonstrate(performance)
            failures += not performance.success
            if performance.success:
                episodes.append(_episode(job, seed, performance.goal, performance.steps, images))

    job.lines.parent.mkdir(parents=True, exist_ok=True)
    job.images.write_bytes(_tar(images))
    # The lines come last: they are there only if the images are.
    json_lines.write(job.lines, episodes)
    return _summary(job, failures=failures, kept=False)


def _episode(job: _Job, seed: int, goal: str, steps: Sequence[Step], images: dict[str, bytes]) -> dict[str, Any]:
    """The episode as it is written; its screenshots are added to ``images`` under the names it gives them."""
    raw_steps = []
    for index, step in enumerate(steps):
        name = f"{seed}-{index:02d}.webp"
        images[name] = _webp(step.image or b"")
        raw_steps.append(step_record(step, name))
    return {
        "id": f"miniwob/{job.page}/{seed}",
        "source": "miniwob",
        "task": job.page,
        "seed": seed,
        "split": job.split,
        "goal": goal,
        "outcome": "success",
        "steps": raw_steps,
    }


def _tar(files: dict[str, bytes]) -> bytes:
    """An uncompressed archive that depends on the files alone: sorted, without times or owners."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            add_member(archive, name, files[name])
    return buffer.getvalue()


def _summary(job: _Job, *, failures: int, kept: bool) -> PageSummary:
    episodes = json_lines.read(job.lines)
    return PageSummary(
        page=job.page,
        split=job.split,
        episodes=len(episodes),
        steps=sum(len(episode["steps"]) for episode in episodes),
        failures=failures,
        bytes=job.lines.stat().st_size + job.images.stat().st_size,
        kept=kept,
    )


def _webp(png: bytes) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").save(buffer, "WEBP", lossless=True, method=4)
    return buffer.getvalue()

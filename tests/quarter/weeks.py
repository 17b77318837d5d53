"""Thirteen weeks of a team: what arrives, what people do, and what dies."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.quarter import arrivals
from tests.quarter.team import Team

WEEK = 7 * 24 * 3600.0
HOUR = 3600.0


def brought(team: Team, name: str = "recordings") -> Path:
    """A batch of what nobody has seen, put into the inbox at once."""
    path = team.arrives(name)
    hidden = path.with_name(f".{path.name}")
    team.recordings.next(hidden)
    hidden.rename(path)
    return path


def begun(team: Team) -> None:
    """Somebody adds the first batch by hand, and leaves the rest to the daemon."""
    team.tracer("data", "add", str(brought(team)))
    team.serve()
    team.decided()


def plain(team: Team, meanwhile: Callable[[], None] = lambda: None) -> None:
    """New data, and a planner trained on it."""
    team.judged(brought(team))
    team.decided(meanwhile)


def killed_daemon(team: Team) -> None:
    """The daemon dies at a random moment between arrival and training."""
    path = brought(team)
    left = [team.drawn.randint(1, 20)]

    def look() -> None:
        left[0] -= 1
        if left[0] == 0:
            team.kill_daemon()

    team.until(f"a decision on {path}", lambda: not path.exists(), look)
    team.decided(look)


def corrupt(team: Team) -> None:
    """A broken upload is refused."""
    path = team.arrives("corrupt")
    hidden = path.with_name(f".{path.name}")
    team.recordings.next(hidden)
    arrivals.corrupt(hidden)
    hidden.rename(path)
    refused(team, path)


def duplicate(team: Team) -> None:
    """The same recordings under other names are refused."""
    path = team.arrives("duplicate")
    team.recordings.changed(path, team.recordings.seen()[-6:], arrivals.as_they_are, "again")
    refused(team, path)


def drifting(team: Team) -> None:
    """Recordings unlike the champion's data are refused."""
    path = team.arrives("drifting")
    hidden = path.with_name(f".{path.name}")
    found = team.recordings.next(hidden)
    shutil.rmtree(hidden)
    team.recordings.changed(path, found, arrivals.unlike, "long")
    refused(team, path)


def refused(team: Team, path: Path) -> None:
    """Wait for the refusal."""
    team.judged(path)
    reports = list(Path(team.config.batches.inbox).glob(f"refused/*/{path.name}"))
    assert reports, f"{path} was not refused"
    team.refused.add(path.name)
    team.say(f"refused: {path.name}, {reports[0].parent.name}")


def killed_trainer(team: Team) -> None:
    """The trainer dies in the middle of a stage."""
    plain(team, team.trainer_dies())


def longer(team: Team) -> None:
    """Somebody trains longer."""
    team.set_steps(2 * team.config.stage1.steps)
    plain(team)


def killed_database(team: Team) -> None:
    """Somebody trains longer, and the database dies during the run, where it is a server."""
    team.set_steps(2 * team.config.stage1.steps)
    plain(team, team.database_dies())


def during_a_run(team: Team) -> None:
    """A batch arrives while a run is under way, and gets a run of its own."""
    team.judged(brought(team))
    late: list[Path] = []

    def look() -> None:
        if not late and team.children("train", "stage1"):
            late.append(brought(team, "late"))
            team.say(f"arrived during a run: {late[0].name}")

    team.decided(look)
    assert late, "nothing trained"
    team.judged(late[0])
    team.decided()


def reverted(team: Team) -> None:
    """A batch is taken out again after it was trained on."""
    path = brought(team)
    team.judged(path)
    team.decided()
    take_out(team, path)
    team.decided()


def take_out(team: Team, path: Path) -> None:
    """Somebody removes a batch."""
    place = next(Path(team.config.batches.inbox).glob(f"accepted/*/{path.name}"))
    team.tracer("data", "remove", place.parent.name, "--reason", "recorded on the wrong build")
    team.removed.add(path.name)
    team.say(f"removed: {path.name}, {place.parent.name}")


def worse(team: Team) -> None:
    """Recordings of somebody who does the wrong thing pass every check; what is trained on them is refused."""
    path = team.arrives("wrong")
    hidden = path.with_name(f".{path.name}")
    team.recordings.changed(hidden, team.recordings.seen(), arrivals.wrong, "wrong")
    hidden.rename(path)
    team.judged(path)
    team.decided()
    team.worse.add(team.last().version)
    take_out(team, path)


def people(team: Team) -> None:
    """The process of a run dies; the champion is rolled back while the clock is wrong, and two promote at once."""
    plain(team, team.run_dies())
    team.clock.forward(-2 * HOUR)
    team.say("the clock is set back by two hours")
    team.tracer("rollback", "--reason", "it was slow on the shop pages")
    assert team.last().outcome == "rolled back"
    team.say(f"rolled back to version {team.last().champion}")
    both = [
        team.begin("promote", "--or-refuse", "--again", "--reason", f"person {number} tried it") for number in (1, 2)
    ]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    team.say(f"two people promote at once: version {team.last().version} {team.last().outcome}")


WEEKS: tuple[Callable[[Team], None], ...] = (
    begun, killed_daemon, corrupt, killed_trainer, longer, duplicate, during_a_run, drifting, reverted, worse, people,
    killed_database, plain,
)  # fmt: skip


def play(team: Team, weeks: int) -> None:
    """Live through the first weeks of a quarter."""
    for number, week in enumerate(WEEKS[:weeks], 1):
        team.week = number
        ahead = team.begun + (number - 1) * WEEK - team.clock.now()
        team.clock.forward(max(0.0, ahead))
        team.say((week.__doc__ or "").splitlines()[0])
        week(team)

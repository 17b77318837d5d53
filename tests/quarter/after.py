"""What has to be so at the end of a quarter, whatever happened in it."""

from __future__ import annotations

import io
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.quarter.team import Team
from tracer.cli import main
from tracer.registry import gc, promotion, storage, tracking, versions

DAY = 24 * 3600


def look(team: Team, weeks: int) -> dict[str, Any]:
    """Assert all of it; the figures."""
    every = promotion.history(team.config.registry)
    outcomes = [each.outcome for each in every]
    for decision in every:
        if decision.outcome == "promoted":
            assert decision.checks and all(check.passed for check in decision.checks), promotion.describe(decision)
        if decision.outcome == "refused":
            assert any(not check.passed for check in decision.checks), promotion.describe(decision)
    figures: dict[str, Any] = {
        "weeks": weeks,
        "batches": batches(team),
        "decisions": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "kills": team.kills,
        "champions": champions(team, every),
    }
    assert not team.worse & {each.champion for each in every}, f"{team.worse} was champion"
    figures |= swept(team)
    team.tracer("verify")
    figures["reproduced"] = reproduced(team)
    return figures


def batches(team: Team) -> dict[str, int]:
    """Every arrival is in the data, or refused, or removed by a commit; nothing else is."""
    listed = json.loads(team.tracer("data", "list", "--json"))
    inbox = Path(team.config.batches.inbox)
    places = {path.name: path.parent for path in inbox.glob("*/*/week-*")}
    assert set(places) == set(team.arrived) and not listed["waiting"], (sorted(places), team.arrived, listed["waiting"])
    inside = {each["batch"] for each in listed["accepted"]}
    refused = {name for name, place in places.items() if place.parent.name == "refused"}
    removed = {name for name in set(places) - refused if places[name].name not in inside}
    assert refused == team.refused and removed == team.removed, (refused, removed)
    assert len(inside) == len(places) - len(refused) - len(removed)
    return {"accepted": len(inside), "refused": len(refused), "removed": len(removed)}


def champions(team: Team, every: list[Any]) -> list[str]:
    """``tracer history --at`` for each day of the quarter, against the record; who was champion from when."""
    found: list[str] = []
    first = team.begun - DAY
    for number in range(int((team.clock.now() - first) // DAY) + 2):
        day = team.day(first + number * DAY)
        said = re.search(r"^the champion at \S+ was (.+)$", command("history", "--at", day), re.MULTILINE)
        assert said is not None, day
        if not found or not found[-1].endswith(f" {said[1]}"):
            found.append(f"{day} {said[1]}")
    assert found[0].endswith("nobody")
    last = every[-1].champion
    assert found[-1].endswith(f"version {last}"), (found, last)
    return found


def command(*arguments: str) -> str:
    """What a ``tracer`` command says, without the seconds of a process of its own."""
    with redirect_stdout(io.StringIO()) as said:
        assert main(list(arguments)) == 0
    return said.getvalue()


def swept(team: Team) -> dict[str, Any]:
    """``tracer gc``, and what is on the disk before and after it, in MB."""
    one_run, before = gc.size_of(team.config.folder), held()
    team.tracer("gc")
    after, versions = held(), registered(team)
    assert sum(after.values()) <= 1.5 * versions + one_run, (after, versions, one_run)
    sizes = {"before gc": before, "after gc": after, "registered versions": versions, "one run": one_run}
    return {
        f"MB {name}": {key: round(each / 1e6, 1) for key, each in size.items()}
        if isinstance(size, dict)
        else round(size / 1e6, 1)
        for name, size in sizes.items()
    }


def held() -> dict[str, int]:
    """The bytes that the pipeline has put on the disk, by folder; neither the code nor the working data."""
    return {name: gc.size_of(Path(name)) for name in ("build", "mlartifacts", ".dvc/cache", ".dagster")}


def registered(team: Team) -> int:
    """The bytes on this disk that the registered versions are: their files, the runs behind them, and their data."""
    client, every = tracking.connect(team.config.registry), versions.every(team.config.registry)
    folders = {client.get_logged_model(each.model_id).artifact_location for each in every}
    folders |= {
        client.get_run(run).info.artifact_uri for each in every for run in (each.run_id, *each.evaluations().values())
    }
    kept = sum(
        gc.size_of(Path(unquote(each.removeprefix("file://")))) for each in folders if each.startswith(("file:", "/"))
    )
    lists = [storage.listing(md5) for md5 in versions.data_of(every)]
    files = {each["md5"] for path in lists for each in json.loads(path.read_bytes())}
    return kept + sum(path.stat().st_size for path in (*lists, *map(storage.listing, files)))


def reproduced(team: Team) -> list[str]:
    """Two versions, drawn at random, made again bit for bit."""
    model = team.config.registry.model
    every = sorted({each.version for each in promotion.history(team.config.registry)})
    found = team.drawn.sample(every, min(2, len(every)))
    for number in found:
        said = team.tracer("reproduce", f"models:/{model}/{number}")
        assert "stage2: equal" in said, said
    return [f"version {number}" for number in found]

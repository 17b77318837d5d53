"""The promotion record: every decision, in an order that no race and no clock can break.

An entry is a version of the registered model ``<model>-decisions``, which MLflow numbers atomically on every database.
It names the fingerprint of the entry before it, and its bytes are ``decision.json`` in a run that was finished before
the version was made. The record is the chain from the first entry on: of two entries that name the same predecessor the
lower number counts; the other is void, and its author decides again. So nothing is locked.

The champion is what the chain's last entry says; the alias ``champion`` is its shadow.
"""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import requests

from tracer.json_files import write_json
from tracer.lineage.digest import digest_of
from tracer.registry import tracking
from tracer.registry.policy import Check
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError

log = logging.getLogger(__name__)
CHAMPION = "champion"
DECISION = "decision.json"
"""An artifact of an entry's run, and beside the steps' folders the receipt of the last decision."""
PREVIOUS, FINGERPRINT = "tracer.previous", "tracer.fingerprint"
Outcome = Literal["promoted", "refused", "waiting", "approved", "rejected", "rolled back", "adopted", "repaired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One entry of the promotion record."""

    outcome: Outcome
    model: str
    version: int
    """The version decided on: the challenger, or the champion that a rollback brought back."""
    incumbent: str
    """Whom it was compared with, or whom it replaced: a version number, or ``base``."""
    champion: int | None
    """The champion after the decision."""
    checks: tuple[Check, ...]
    reason: str
    digest: str
    """Of everything that was decided on: the same question gets the same answer."""
    previous: str
    """The fingerprint of the entry before; empty for the first."""
    decided: str
    by: str
    lost: tuple[str, ...] = ()
    """The entries that a repair leaves out, by name."""

    @property
    def promoted(self) -> bool:
        """Whether the version became champion by passing the gate."""
        return self.outcome == "promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A decision as it is stored."""

    decision: Decision
    fingerprint: str
    number: int
    """The entry's version; of two with one predecessor the lower counts."""

    @property
    def name(self) -> str:
        """What messages, and a repair, call it."""
        return f"version {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the registry's entries come to."""

    entries: tuple[Entry, ...]
    """The chain, oldest first."""
    damage: Mapping[str, str]
    """Entry -> what is wrong with it. Without a repair no decision can be added."""

    @property
    def decisions(self) -> list[Decision]:
        """The decisions that count, oldest first."""
        return [entry.decision for entry in self.entries]

    @property
    def head(self) -> str:
        """The fingerprint that the next entry has to name."""
        return self.entries[-1].fingerprint if self.entries else ""

    @property
    def champion(self) -> int | None:
        """The champion's version number."""
        return self.entries[-1].decision.champion if self.entries else None

    @property
    def before(self) -> int | None:
        """The champion before this one."""
        return next((each.champion for each in reversed(self.decisions) if each.champion != self.champion), None)


def name_of(config: RegistryConfig) -> str:
    """The registered model whose versions are the entries."""
    return f"{config.model}-decisions"


def fingerprint(decision: Mapping[str, Any]) -> str:
    """The digest of a whole entry as it is stored, which the next one names."""
    return digest_of(dict(decision))


def read(config: RegistryConfig) -> Record:
    """The record as it stands; raises ``RegistryError`` when its entries cannot be reached."""
    import mlflow

    tracking.connect(config)
    entries: list[Entry] = []
    damage: dict[str, str] = {}
    for version in mlflow.search_model_versions(filter_string=f"name = '{name_of(config)}'"):
        name = f"version {version.version}"
        try:
            entry = _entry(int(version.version), version.source)
        except requests.ConnectionError as error:  # an OSError too, and no damage
            raise RegistryError(f"{config.tracking_uri} does not answer: {error}") from error
        except (OSError, ValueError, TypeError, KeyError, tracking.mlflow_error()) as error:
            damage[name] = f"its {DECISION} cannot be read: {str(error).splitlines()[0][:200]}"
            continue
        if version.tags.get(FINGERPRINT) != entry.fingerprint:
            damage[name] = f"its {DECISION} was changed"
            continue
        entries.append(entry)
    return walk(entries, damage)


def walk(entries: Iterable[Entry], damage: Mapping[str, str]) -> Record:
    """The chain through the entries, and what is wrong with those that it should reach and does not."""
    following: dict[str, list[Entry]] = {}
    known = {""}
    for entry in entries:
        following.setdefault(entry.decision.previous, []).append(entry)
        known.add(entry.fingerprint)
    chain: list[Entry] = []
    at = ""
    while at in following:
        chain.append(min(following[at], key=lambda entry: entry.number))
        at = chain[-1].fingerprint
    damage = dict(damage)
    for previous, those in following.items():
        if previous not in known:
            damage |= {entry.name: "the entry before it was deleted or changed" for entry in those}
    lost = {name for entry in chain for name in entry.decision.lost}
    return Record(entries=tuple(chain), damage={name: what for name, what in damage.items() if name not in lost})


def whole(config: RegistryConfig) -> Record:
    """The record as it stands; raises ``RegistryError`` for a damaged one."""
    record = read(config)
    if record.damage:
        raise RegistryError(
            f"the promotion record {name_of(config)} is damaged: "
            + "; ".join(f"{name}: {what}" for name, what in sorted(record.damage.items()))
            + f". Restore the database from a backup, or see what `{config.command('history --repair')}` would do"
        )
    return record


def append(config: RegistryConfig, decision: Decision) -> bool:
    """Add an entry; False if another one came first, so that this one is void.

    Raises ``RegistryError`` where the server lets the user not decide.
    """
    with tracking.permitted("decide on versions"):
        return _append(config, decision)


def _append(config: RegistryConfig, decision: Decision) -> bool:
    client, stored = tracking.connect(config), json.loads(json.dumps(asdict(decision)))
    mark = fingerprint(stored)
    run = client.create_run(
        tracking.experiment(client, config, tracking.decisions(config)),
        run_name=f"version {decision.version} {decision.outcome}",
        tags={
            tracking.DIGEST: decision.digest,
            tracking.WRITER: tracking.writer(),
            PREVIOUS: decision.previous,
            FINGERPRINT: mark,
            "tracer.outcome": decision.outcome,
            "tracer.version": str(decision.version),
            "tracer.incumbent": decision.incumbent,
            "tracer.reason": decision.reason[:4000],
        },
    )
    for check in decision.checks:
        client.log_metric(run.info.run_id, tracking.metric_name(f"{check.name}/passed"), float(check.passed))
        for key, value in check.numbers.items():
            client.log_metric(run.info.run_id, tracking.metric_name(f"{check.name}/{key}"), float(value))
    with tempfile.TemporaryDirectory() as temporary:
        write_json(Path(temporary) / DECISION, stored)
        client.log_artifact(run.info.run_id, str(Path(temporary) / DECISION))
    client.set_terminated(run.info.run_id)
    tracking.registered_model(client, name_of(config), "Decisions on promotion; `tracer history` reads them.")
    made = tracking.persistently(
        lambda: client.create_model_version(
            name_of(config),
            source=run.info.artifact_uri,
            run_id=run.info.run_id,
            tags={PREVIOUS: decision.previous, FINGERPRINT: mark},
        )
    )
    counts = any(entry.fingerprint == mark for entry in read(config).entries)
    if not counts:
        client.set_model_version_tag(name_of(config), str(made.version), "tracer.void", "another decision came first")
    return counts


def settle(config: RegistryConfig, decided: bool = False) -> Record:
    """Point the alias ``champion`` at the record's champion, where a decision was interrupted before it did.

    ``decided``: the decision was just made, so that nothing was interrupted and nothing is said. Returns the record.
    Raises ``RegistryError`` for a damaged one, and for an alias that no decision set.
    """
    client = tracking.connect(config)
    while True:
        record = whole(config)
        alias = tracking.alias(client, config.model, CHAMPION)
        if alias == record.champion:
            return record
        if alias != record.before:
            raise RegistryError(misplaced(config, record, alias))
        if not decided:
            log.warning("the alias %r of %s is moved to version %s, as the last decision says", CHAMPION, config.model,
                        record.champion)  # fmt: skip
        move(client, config, record.champion)


def misplaced(config: RegistryConfig, record: Record, alias: int | None) -> str:
    """What to say of an alias that no decision set."""
    found = f"points at version {alias}, which was never promoted" if alias else "was deleted"
    meant = f"the record says version {record.champion}" if record.champion else "the record has no champion"
    adopt = config.command("promote --adopt --reason WHY")
    adopt = f"`{adopt}` records version {alias} as champion; or " if alias else ""
    return (
        f"the alias {CHAMPION!r} of {config.model} {found}: {meant}. {adopt}"
        f"`{config.command('rollback --alias')}` puts the alias back to what the record says"
    )


def move(client: Any, config: RegistryConfig, champion: int | None) -> None:
    """Point the alias at a version, or delete it."""
    with tracking.permitted(f"move the alias {CHAMPION!r} of {config.model}"):
        if champion is None:
            client.delete_registered_model_alias(config.model, CHAMPION)
        else:
            client.set_registered_model_alias(config.model, CHAMPION, str(champion))


def _entry(number: int, where: str) -> Entry:
    import mlflow

    stored = json.loads(mlflow.artifacts.load_text(f"{where}/{DECISION}"))
    sequences: dict[str, Sequence[Any]] = {
        "checks": tuple(Check(**check) for check in stored["checks"]),
        "lost": tuple(stored["lost"]),
    }
    decision = Decision(**{**stored, **sequences})
    return Entry(decision=decision, fingerprint=fingerprint(stored), number=number)

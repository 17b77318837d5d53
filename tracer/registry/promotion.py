"""Promotion: the gate between challenger and champion, and the way back.

The policy is data (mlflow/promotion.yaml). Every decision, with all its numbers, is an entry of the promotion record
(tracer/registry/record.py). MLflow's aliases have no history of their own (mlflow#2169).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from filelock import FileLock

from tracer.config import Config
from tracer.evaluation import offline, online
from tracer.json_files import read_json, write_json
from tracer.lineage.digest import content_digest, digest_of, finished, writer
from tracer.registry import policy as policies
from tracer.registry import record, signing, step_runs, tracking, users, versions
from tracer.registry.policy import Check, Policy
from tracer.registry.record import CHAMPION, DECISION, Decision, Outcome, Record
from tracer.registry.register import RECEIPT
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError
from tracer.registry.versions import CHALLENGER, WEIGHTS, Version
from tracer.settings import ConfigError

log = logging.getLogger(__name__)
BASE = "base"  # the incumbent before there is a champion
RAISING = ("promoted", "approved", "adopted", "rolled back")
"""The outcomes after which the version decided on is champion."""
PREPOSITIONS = {"promoted": "over", "approved": "over", "refused": "against", "waiting": "against", "rejected": "under"}
"""Between a version and the incumbent, in words; otherwise ``in place of``."""
ROUNDS = 20
"""How often a decision is made again because another one came first."""


def promote(
    config: Config, base: Mapping[str, Path], trajectories: Path, again: bool = False, reason: str = ""
) -> Decision:
    """Hold the challenger against the champion, and make it champion if the gate passes; return the decision.

    The challenger is the version that this configuration's run registered, or the alias's where nothing was registered
    here. ``base`` maps ``evaluate`` and ``online`` to the base planner's evaluations, which the first champion has to
    beat. A champion whose evaluation is not of the same items under the same code is evaluated again, on
    ``trajectories``. The same pair gets its decision of before, and what was rolled back stays so, unless ``again``,
    which needs a ``reason`` (``ConfigError``). Raises ``RegistryError``, and ``LineageError`` for an evaluation of the
    base that cannot be compared.
    """
    if again and not reason:
        again_why = config.command("promote --again --reason WHY")
        raise ConfigError(f"to decide again on what was decided needs a reason: `{again_why}`")

    def decide(past: Record) -> Decision:
        return _promote(config, base, trajectories, past, reason if again else "")

    decision = decided(config.registry, decide)
    write_json(config.folder / DECISION, asdict(decision))
    return decision


def _promote(config: Config, base: Mapping[str, Path], trajectories: Path, past: Record, again: str) -> Decision:
    client = tracking.connect(config.registry)
    challenger = _challenger(config)
    if past.champion == challenger.version:
        raised = (each for each in reversed(past.decisions) if each.outcome in RAISING)
        return next(each for each in raised if each.version == past.champion)
    barred = barring(past, challenger.version)
    if barred is not None and not again:
        return barred
    champion = None if past.champion is None else versions.numbered(config.registry, past.champion)
    policy = policies.load(Path(config.registry.policy))
    with tempfile.TemporaryDirectory() as temporary:
        ours = download_evaluations(client, challenger, Path(temporary) / "challenger")
        theirs = _incumbent(client, config, champion, base, trajectories, ours, Path(temporary) / "champion")
        digest = digest_of(
            {
                "challenger": [challenger.version, challenger.output],
                "incumbent": [champion.version, champion.output] if champion else BASE,
                "policy": policy.model_dump(mode="json"),
                "not rebuildable": challenger.not_rebuildable if policy.rebuildable == "required" else [],
                "signature": challenger.tags.get(signing.SIGNATURE) if policy.public_key else None,
                "evaluations": [_digests(ours), _digests(theirs)],
            }
        )
        known = next((entry for entry in reversed(past.decisions) if entry.digest == digest), None)
        if known is not None and not again:
            return known
        checks = (
            *required(policy, challenger, ours, config.registry),
            *policies.judge(policy, ours, theirs, seed=config.seed, first=champion is None),
        )
    failed = [check for check in checks if not check.passed]
    found = "; ".join(check.description for check in failed) or "every check passed"
    outcome: Outcome = "refused" if failed else "waiting" if policy.approval == "required" else "promoted"
    if outcome == "waiting":
        approval = config.command(f"approve {challenger.version} --reason WHY")
        found += f"; somebody else than its author has to `{approval}`"
    return entry(
        config.registry,
        past,
        outcome,
        challenger,
        f"{found} (decided again: {again})" if again else found,
        digest,
        checks,
    )


def rollback(config: RegistryConfig, reason: str = "rolled back by hand") -> Decision:
    """Make the champion's predecessor champion again, and record it; raises ``RegistryError`` if it has none."""

    def decide(past: Record) -> Decision:
        if past.champion is None:
            raise RegistryError(f"{config.model} has no champion; `{config.command('promote')}` makes one")
        earlier = (each.champion for each in reversed(past.decisions) if each.champion not in (None, past.champion))
        number = next((each for each in earlier if each is not None and barring(past, each) is None), None)
        if number is None:
            raise RegistryError(
                f"version {past.champion} is the first champion of {config.model}, or those before it were rolled back "
                f"or rejected: there is none to go back to"
            )
        digest = digest_of({"rollback": [past.champion, number], "after": past.decisions[-1].digest})
        return entry(config, past, "rolled back", versions.numbered(config, number), reason, digest)

    return decided(config, decide)


def adopt(config: RegistryConfig, reason: str) -> Decision:
    """Record the version that somebody pointed the alias ``champion`` at as champion, without a gate.

    Raises ``RegistryError`` where the alias is the record's, or was deleted.
    """
    past = record.whole(config)
    version = versions.aliased(config, CHAMPION)
    if version is None or version.version == past.champion:
        raise RegistryError(f"nothing to adopt: the alias {CHAMPION!r} of {config.model} was not moved by hand")
    if policies.load(Path(config.policy)).approval == "required":
        users.require_other(config, version)
    digest = digest_of({"adopted": version.version, "after": past.head})
    return _once(config, entry(config, past, "adopted", version, reason, digest))


def restore_alias(config: RegistryConfig) -> Decision:
    """Point the alias ``champion`` at the version that the record says; return the last decision."""
    past = record.whole(config)
    if not past.decisions:
        raise RegistryError(f"{config.model} has no decisions; `{config.command('promote')}` makes one")
    record.move(tracking.connect(config), config, past.champion)
    return past.decisions[-1]


def repair(config: RegistryConfig, reason: str) -> Decision:
    """Record which damaged entries the record goes on without; none of them is deleted.

    Raises ``RegistryError`` for a record that is whole.
    """
    past = record.read(config)
    if not past.damage:
        raise RegistryError("the promotion record is whole: there is nothing to repair")
    digest = digest_of({"repaired": dict(past.damage), "after": past.head})
    decision = entry(config, past, "repaired", None, reason, digest)
    return _once(config, replace(decision, lost=tuple(sorted(past.damage))))


def history(config: RegistryConfig) -> list[Decision]:
    """Every decision, oldest first; raises ``RegistryError`` if an entry is missing or was changed."""
    return record.whole(config).decisions


def until(decisions: Sequence[Decision], at: str) -> list[Decision]:
    """The decisions that counted at a moment (ISO 8601; UTC unless it says otherwise), or at the end of a day.

    The record's order decides, not the clock: one that was set back hides nothing. Raises ``ConfigError`` for a text
    that is no date.
    """
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise ConfigError(f"{at!r} is no date: write it as 2026-11-30, or 2026-11-30T18:00") from error
    if len(at) == len("2026-11-30"):
        moment = datetime.combine(moment, time.max)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    taken = [number for number, each in enumerate(decisions, 1) if datetime.fromisoformat(each.decided) <= moment]
    return list(decisions[: max(taken, default=0)])


def describe(decision: Decision) -> str:
    """A decision in words, its checks below it."""
    over = PREPOSITIONS.get(decision.outcome, "in place of")
    what = f"{decision.model} version {decision.version} {decision.outcome}, {over} {shown(decision.incumbent)}"
    lines = [f"{decision.decided}  {what}: {decision.reason}"]
    for check in decision.checks:
        label = "" if check.description.startswith(check.name) else f"{check.name}: "
        lines.append(f"  {'ok  ' if check.passed else 'FAIL'} {label}{check.description}")
    return "\n".join(lines)


def shown(incumbent: str) -> str:
    """An incumbent in words."""
    return incumbent if incumbent == BASE else f"version {incumbent}"


def required(policy: Policy, challenger: Version, ours: Mapping[str, Path], config: RegistryConfig) -> list[Check]:
    """The checks that come before any comparison."""
    found = []
    for name in policy.required:
        if name == "files":
            now = content_digest(versions.weights(versions.download(challenger.uri, config)))
            passed, text = now == challenger.tags.get(WEIGHTS), "the registered files are those that were evaluated"
        else:
            passed, text = policies.requirement(name, ours)
        found.append(Check(name=name, passed=passed, description=text if passed else f"not so: {text}", numbers={}))
    if policy.rebuildable == "required":
        reasons = challenger.not_rebuildable
        text = "; ".join(reasons) or "it can be made again from a clone"
        found.append(Check(name="rebuildable", passed=not reasons, description=text, numbers={}))
    if policy.public_key:
        wrong = versions.unsigned(challenger, config)
        text = wrong or f"signed with the private key of {policy.public_key}"
        found.append(Check(name="signature", passed=not wrong, description=text, numbers={}))
    return found


def download_evaluations(client: Any, version: Version, to: Path) -> dict[str, Path]:
    """The folders of a version's evaluations, fetched from their runs."""
    found = {}
    for step, run_id in version.evaluations().items():
        (to / step).mkdir(parents=True)
        found[step] = to / step
        for artifact in client.list_artifacts(run_id):
            if artifact.path in step_runs.ARTIFACTS:
                client.download_artifacts(run_id, artifact.path, str(to / step))
    return found


def _incumbent(
    client: Any, config: Config, champion: Version | None, base: Mapping[str, Path], trajectories: Path,
    ours: Mapping[str, Path], to: Path,
) -> dict[str, Path]:  # fmt: skip
    """The evaluations of the one to beat, each comparable with the challenger's."""
    if champion is None:
        for step, path in base.items():
            if step in ours:
                policies.require_comparable(ours[step], path)
        return dict(base)
    theirs = download_evaluations(client, champion, to)
    for step in ("evaluate", "online"):
        if step in ours and (step not in theirs or not policies.comparable(ours[step], theirs[step])):
            theirs[step] = _evaluate(config, step, champion, trajectories)
            policies.require_comparable(ours[step], theirs[step])
    return theirs


def _evaluate(config: Config, step: str, champion: Version, trajectories: Path) -> Path:
    """Evaluate a champion of other days on today's items."""
    model = versions.model(champion.uri, config.registry)
    out = config.out(f"{step}-champion-{champion.version}")
    # Whoever decides at the same time waits for this evaluation, and takes it.
    if process := writer(out):
        log.info("waiting for process %s, which is writing %s", process, out)
    with FileLock(out.with_name(f".{out.name}.decided.lock")):
        if step == "evaluate":
            offline.evaluate(config, trajectories, model, out)
        else:
            online.evaluate(config, model, out, trajectories)
    return out


def _digests(evaluations: Mapping[str, Path]) -> dict[str, str]:
    return {step: (finished(path) or {})["digest"] for step, path in sorted(evaluations.items())}


def _challenger(config: Config) -> Version:
    """The version that this run registered, or the alias's where nothing was registered here."""
    receipt = config.folder / RECEIPT
    if not receipt.is_file():
        return versions.version_of(f"{config.registry.model}@{CHALLENGER}", config.registry)
    uri = read_json(receipt, "uri")["uri"]
    return versions.version_of(uri, config.registry)


def barring(past: Record, version: int) -> Decision | None:
    """The rollback or the rejection that keeps a version from being promoted, unless it was champion since."""
    for each in reversed(past.decisions):
        if (each.outcome == "rejected" and each.version == version) or (
            each.outcome == "rolled back" and each.incumbent == str(version)
        ):
            return each
        if each.champion == version:
            return None
    return None


def decided(config: RegistryConfig, decide: Callable[[Record], Decision]) -> Decision:
    """Decide, record it and move the alias; decide again where another decision came first."""
    for _ in range(ROUNDS):
        past = record.settle(config)
        decision = decide(past)
        if decision in past.decisions:
            return decision
        if record.append(config, decision):
            record.settle(config, decided=True)
            number, outcome = str(decision.version), decision.outcome
            tracking.connect(config).set_model_version_tag(config.model, number, "tracer.registry.promotion", outcome)
            return decision
    raise RegistryError(f"{ROUNDS} other decisions came first; run the command again")


def _once(config: RegistryConfig, decision: Decision) -> Decision:
    """Record a decision that a person took on what there was; raises ``RegistryError`` if another one came first."""
    if not record.append(config, decision):
        look = config.command("history")
        raise RegistryError(f"another decision came first; look at `{look}`, and run the command again")
    return decision


def entry(
    config: RegistryConfig,
    past: Record,
    outcome: Outcome,
    version: Version | None,
    reason: str,
    digest: str,
    checks: tuple[Check, ...] = (),
) -> Decision:
    """The next entry of a record, by the present user; one on no version is about the champion.

    Raises ``RegistryError`` for a version that nobody could load as champion, because the policy asks for a signature.
    """
    raised = version if outcome in RAISING else None
    if raised is not None:
        versions.require_signed(raised, config)
    return Decision(
        outcome=outcome,
        model=config.model if version is None else version.name,
        version=(past.champion or 0) if version is None else version.version,
        incumbent=named(past.champion),
        champion=past.champion if raised is None else raised.version,
        checks=checks,
        reason=reason,
        digest=digest,
        previous=past.head,
        decided=_now(),
        by=users.current(config),
    )


def named(champion: int | None) -> str:
    """A champion as an entry names the incumbent."""
    return BASE if champion is None else str(champion)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

"""Promotion: the gate between challenger and champion, its record, and the way back.

The policy is data (mlflow/promotion.yaml). Every decision, with all its numbers, is a run of the experiment
``<experiment>-promotions``; runs are only ever added, and each names the digest of the one before it. MLflow's aliases
have no history of their own (mlflow#2169).
"""

from __future__ import annotations

import getpass
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tracer.config import Config
from tracer.evaluation import offline, online
from tracer.json_files import write_json
from tracer.lineage.digest import content_digest, digest_of, finished
from tracer.registry import policy as policies
from tracer.registry import tracking, versions
from tracer.registry.policy import Check, Policy
from tracer.registry.settings import RegistryConfig
from tracer.registry.versions import CHALLENGER, CHAMPION, WEIGHTS, RegistryError, Version

BASE = "base"  # the incumbent before there is a champion
DECISION = "decision.json"  # an artifact of the record, and beside the steps' folders the receipt of the last one
Outcome = Literal["promoted", "refused", "rolled back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One entry of the promotion record."""

    outcome: Outcome
    model: str
    version: int
    """The version decided on: the challenger, or the champion that a rollback brought back."""
    incumbent: str
    """Whom it was compared with, or whom a rollback removed: a version number, or ``base``."""
    champion: int | None
    """The champion after the decision."""
    checks: tuple[Check, ...]
    reason: str
    digest: str
    """Of everything that was decided on: the same question gets the same answer."""
    previous: str
    """The digest of the entry before; empty for the first."""
    decided: str
    by: str

    @property
    def promoted(self) -> bool:
        """Whether the version became champion."""
        return self.outcome == "promoted"


def promote(config: Config, base: Mapping[str, Path], trajectories: Path, again: bool = False) -> Decision:
    """Hold the challenger against the champion, and make it champion if the gate passes; return the decision.

    ``base`` maps ``evaluate`` and ``online`` to the base planner's evaluations, which the first champion has to beat.
    A champion whose evaluation is not of the same items under the same code is evaluated again, on ``trajectories``.
    The same pair gets its decision of before, unless ``again``; what was rolled back stays so. Raises
    ``RegistryError``, and ``LineageError`` for an evaluation of the base that cannot be compared.
    """
    decision = _promote(config, base, trajectories, again)
    write_json(config.folder / DECISION, asdict(decision))
    return decision


def _promote(config: Config, base: Mapping[str, Path], trajectories: Path, again: bool) -> Decision:
    client = tracking.connect(config.registry)
    challenger = versions.version_of(f"{config.registry.model}@{CHALLENGER}", config.registry)
    champion = versions.aliased(config.registry, CHAMPION)
    past = history(config.registry)
    if champion is not None and champion.version == challenger.version:
        return _how_it_became_champion(champion, past)
    policy = policies.load(Path(config.registry.policy))
    with tempfile.TemporaryDirectory() as temporary:
        ours = download_evaluations(client, challenger, Path(temporary) / "challenger")
        theirs = _incumbent(client, config, champion, base, trajectories, ours, Path(temporary) / "champion")
        digest = digest_of(
            {
                "challenger": [challenger.version, challenger.output],
                "incumbent": [champion.version, champion.output] if champion else BASE,
                "policy": policy.model_dump(mode="json"),
                "evaluations": [_digests(ours), _digests(theirs)],
            }
        )
        known = None if again else next((entry for entry in reversed(past) if entry.digest == digest), None)
        if known is not None:
            return _repeat(client, config.registry, known, champion, past)
        checks = (
            *required(policy, challenger, ours, config.registry),
            *policies.judge(policy, ours, theirs, seed=config.seed, first=champion is None),
        )
    failed = [check for check in checks if not check.passed]
    decision = _entry(
        past,
        outcome="refused" if failed else "promoted",
        version=challenger,
        incumbent=str(champion.version) if champion else BASE,
        champion=challenger.version if not failed else champion.version if champion else None,
        checks=checks,
        reason="; ".join(check.description for check in failed) or "every check passed",
        digest=digest,
    )
    _record(client, config.registry, decision)
    if decision.promoted:
        _move(client, config.registry, decision, champion)
    return decision


def rollback(config: RegistryConfig, reason: str = "rolled back by hand") -> Decision:
    """Make the champion's predecessor champion again, and record it; raises ``RegistryError`` if it has none."""
    client = tracking.connect(config)
    champion, past = versions.aliased(config, CHAMPION), history(config)
    if champion is None:
        raise RegistryError(f"{config.model} has no champion; `tracer promote` makes one")
    raised = next((entry for entry in reversed(past) if entry.promoted and entry.version == champion.version), None)
    if raised is None or raised.incumbent == BASE:
        raise RegistryError(f"version {champion.version} is the first champion of {config.model}: none is before it")
    before = versions.version_of(f"{config.model}/{raised.incumbent}", config)
    decision = _entry(
        past,
        outcome="rolled back",
        version=before,
        incumbent=str(champion.version),
        champion=before.version,
        checks=(),
        reason=reason,
        digest=digest_of({"rollback": [champion.version, before.version], "after": past[-1].digest if past else ""}),
    )
    _record(client, config, decision)
    _move(client, config, decision, champion)
    return decision


def history(config: RegistryConfig) -> list[Decision]:
    """Every decision, oldest first; raises ``RegistryError`` if an entry is missing or was changed."""
    import mlflow

    client = tracking.connect(config)
    experiment = client.get_experiment_by_name(record_name(config))
    if experiment is None:
        return []
    runs = mlflow.search_runs(
        [experiment.experiment_id], "attributes.status = 'FINISHED'", order_by=["attributes.start_time ASC"],
        output_format="list",
    )  # fmt: skip
    entries = [_read(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/{DECISION}")) for run in runs]
    for before, entry in zip([None, *entries], entries, strict=False):
        if entry.previous != ("" if before is None else fingerprint(before)):
            raise RegistryError(
                f"the promotion record {record_name(config)} is broken before the decision of {entry.decided} on "
                f"version {entry.version}: an entry was deleted or changed; restore the database from a backup"
            )
    return entries


def fingerprint(decision: Decision) -> str:
    """The digest of a whole entry, which the next one names."""
    return digest_of(asdict(decision))


def describe(decision: Decision) -> str:
    """A decision in words, its checks below it."""
    over = {"promoted": "over", "refused": "against", "rolled back": "in place of"}[decision.outcome]
    who = decision.incumbent if decision.incumbent == BASE else f"version {decision.incumbent}"
    what = f"{decision.model} version {decision.version} {decision.outcome}, {over} {who}"
    lines = [f"{decision.decided}  {what}: {decision.reason}"]
    lines += [f"  {'ok  ' if check.passed else 'FAIL'} {check.name}: {check.description}" for check in decision.checks]
    return "\n".join(lines)


def record_name(config: RegistryConfig) -> str:
    """The MLflow experiment that holds the promotion record."""
    return f"{config.experiment}-promotions"


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
    return found


def download_evaluations(client: Any, version: Version, to: Path) -> dict[str, Path]:
    """The folders of a version's evaluations, fetched from their runs."""
    found = {}
    for step, run_id in version.evaluations().items():
        (to / step).mkdir(parents=True)
        found[step] = to / step
        for artifact in client.list_artifacts(run_id):
            if artifact.path in tracking.ARTIFACTS:
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
    model = versions.weights(versions.download(champion.uri, config.registry))
    out = config.out(f"{step}-champion-{champion.version}")
    if step == "evaluate":
        offline.evaluate(config, trajectories, model, out)
    else:
        online.evaluate(config, model, out)
    return out


def _digests(evaluations: Mapping[str, Path]) -> dict[str, str]:
    return {step: (finished(path) or {})["digest"] for step, path in sorted(evaluations.items())}


def _how_it_became_champion(champion: Version, past: Sequence[Decision]) -> Decision:
    for entry in reversed(past):
        if entry.champion == champion.version and entry.outcome != "refused":
            return entry
    raise RegistryError(
        f"version {champion.version} is champion, but no decision made it so: its alias was set by hand; "
        f"delete the alias {CHAMPION!r} and run `tracer promote`"
    )


def _repeat(
    client: Any, config: RegistryConfig, known: Decision, champion: Version | None, past: Sequence[Decision]
) -> Decision:
    """The decision of before; a promotion that a kill kept from taking effect takes effect now."""
    later = past[past.index(known) + 1 :]
    if known.promoted and not any(entry.outcome != "refused" for entry in later):
        _move(client, config, known, champion)
    return known


def _entry(past: Sequence[Decision], *, version: Version, **fields: Any) -> Decision:
    from datetime import UTC, datetime

    return Decision(
        model=version.name,
        version=version.version,
        previous=fingerprint(past[-1]) if past else "",
        decided=datetime.now(UTC).isoformat(timespec="seconds"),
        by=_user(),
        **fields,
    )


def _user() -> str:
    """Who decides; a container's user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _record(client: Any, config: RegistryConfig, decision: Decision) -> None:
    """Append an entry: a run that is finished once it is whole. Unfinished ones, of killed decisions, go."""
    experiment_id = tracking.experiment(client, config, record_name(config))
    for run in client.search_runs([experiment_id], filter_string="attributes.status != 'FINISHED'"):
        client.delete_run(run.info.run_id)
    run = client.create_run(
        experiment_id,
        run_name=f"version {decision.version} {decision.outcome}",
        tags={
            tracking.DIGEST: decision.digest,
            "tracer.outcome": decision.outcome,
            "tracer.version": str(decision.version),
            "tracer.incumbent": decision.incumbent,
            "tracer.reason": decision.reason[:4000],
        },
    )
    run_id = run.info.run_id
    for check in decision.checks:
        for key, value in {"passed": check.passed, **check.numbers}.items():
            client.log_metric(run_id, tracking.metric_name(f"{check.name}/{key}"), float(value))
    client.log_dict(run_id, asdict(decision), DECISION)
    client.set_terminated(run_id)


def _move(client: Any, config: RegistryConfig, decision: Decision, expected: Version | None) -> None:
    """Point ``champion`` at the decision's, unless another decision moved it meanwhile."""
    present = versions.aliased(config, CHAMPION)
    if (present and present.version) != (expected and expected.version):
        raise RegistryError(f"the champion of {config.model} changed while it was decided on; run the command again")
    client.set_registered_model_alias(config.model, CHAMPION, str(decision.champion))
    client.set_model_version_tag(config.model, str(decision.version), "tracer.registry.promotion", decision.outcome)


def _read(text: str) -> Decision:
    fields = json.loads(text)
    return Decision(**{**fields, "checks": tuple(Check(**check) for check in fields["checks"])})

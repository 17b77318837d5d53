"""The life of a registered model: register, promote, roll back, explain, reproduce, compare, verify, back up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tracer.cli.common import Result, aligned, examination
from tracer.config import Config
from tracer.registry.settings import Role
from tracer.settings import ConfigError


def register(config: Config) -> Result:
    """Register the trained planner in MLflow, as challenger.

    Example: tracer register --profile demo
    """
    from tracer import flow
    from tracer.registry import versions

    step = flow.step("register")
    flow.prepare(config, step)
    version = step.run(config)
    if version is None:
        return _skipped(config)
    return Result(data=version, text=f"{version.uri}, {versions.CHALLENGER}")


Reason = Annotated[str, typer.Option(help="Why, for the record.")]


def promote(
    config: Config,
    again: Annotated[bool, typer.Option("--again", help="Decide again on what was decided, or rolled back.")] = False,
    or_refuse: Annotated[
        bool, typer.Option("--or-refuse", help="A refusal is exit code 0, too: for pipelines.")
    ] = False,
    adopt: Annotated[bool, typer.Option("--adopt", help="Record an alias that was moved by hand; no gate.")] = False,
    reason: Reason = "",
) -> Result:
    """Make the challenger champion if it passes the promotion policy. Exit code 1 if it does not, or has to wait.

    Example: tracer promote --profile demo
    """
    from tracer import flow
    from tracer.registry import promotion

    if adopt:
        if not reason:
            raise ConfigError("--adopt needs --reason: why a version becomes champion without passing the gate")
        return _decided([promotion.adopt(config.registry, reason)])
    step = flow.step("promote")
    flow.prepare(config, step)
    decision = flow.promote(config, step.folders(config), step.out(config), again=again, reason=reason)
    if decision is None:
        return _skipped(config)
    return _decided([decision], decision.promoted or or_refuse)


def _skipped(config: Config) -> Result:
    from tracer import flow

    return Result(data={"skipped": flow.unregistered(config)}, text=flow.unregistered(config))


Number = Annotated[int, typer.Argument(min=1, metavar="VERSION", help="A version's number.")]
Why = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


def approve(config: Config, version: Number, reason: Why) -> Result:
    """Make a version champion that passed the policy and waits for somebody else than its author.

    Example: tracer approve 3 --reason "tried it on the shop pages"
    """
    from tracer.registry import review

    return _decided([review.approve(config.registry, version, reason)])


def reject(config: Config, version: Number, reason: Why) -> Result:
    """Keep a version from becoming champion, whatever the policy says.

    Example: tracer reject 3 --reason "it buys things"
    """
    from tracer.registry import review

    return _decided([review.reject(config.registry, version, reason)])


def rollback(
    config: Config,
    reason: Reason = "",
    alias: Annotated[bool, typer.Option("--alias", help="Only put back an alias that was moved by hand.")] = False,
) -> Result:
    """Make the previous champion champion again.

    Example: tracer rollback --reason "worse on the shop pages"
    """
    from tracer.registry import promotion

    if alias:
        return _decided([promotion.restore_alias(config.registry)])
    if not reason:
        raise ConfigError("give --reason: why the champion goes")
    return _decided([promotion.rollback(config.registry, reason)])


def history(
    config: Config,
    repair: Annotated[bool, typer.Option("--repair", help="Show what a damaged record would go on without.")] = False,
    reason: Annotated[str, typer.Option(help="With --repair: do it, and why.")] = "",
    at: Annotated[str, typer.Option(metavar="DATE", help="As of the end of a day, or of 2026-11-30T18:00.")] = "",
) -> Result:
    """List every promotion decision, oldest first, and the versions that cannot be rebuilt.

    Exit code 1 for a damaged record, or an alias moved by hand.

    Example: tracer history
    """
    from tracer.registry import promotion, record, tracking, versions

    if repair and reason:
        return _decided([promotion.repair(config.registry, reason)])
    found = record.read(config.registry)
    decided = _decided(promotion.until(found.decisions, at) if at else found.decisions)
    marked = versions.marked(config.registry)
    then = [f"the champion at {at} was {_champion(decided.data)}"] if at else []
    text = [
        decided.text or "",
        *then,
        *(f"version {number} cannot be rebuilt: {why}" for number, why in marked.items()),
    ]
    notes = [f"damaged: {name}: {what}" for name, what in sorted(found.damage.items())]
    number = tracking.alias(tracking.connect(config.registry), config.registry.model, record.CHAMPION)
    if notes:
        command = f"{config.command('history --repair')} --reason WHY"
        notes.append(f"`{command}` records that these do not count; nothing is deleted")
    elif number != found.champion:
        notes.append(record.misplaced(config.registry, found, number))
    return replace(decided, text="\n".join([*text, *notes]).strip("\n"), ok=not notes)


def _champion(decisions: list[Any]) -> str:
    number = decisions[-1].champion if decisions else None
    return f"version {number}" if number else "nobody"


def _decided(decisions: list[Any], ok: bool = True) -> Result:
    from tracer.registry import promotion

    return Result(data=decisions, text="\n".join(map(promotion.describe, decisions)) or "no decision yet", ok=ok)


def lineage(config: Config, model: Annotated[str, typer.Argument()] = "tracer-planner@champion") -> Result:
    """Show everything that made a registered model, and the commands that rebuild it.

    Example: tracer lineage tracer-planner@champion
    """
    from tracer.registry.rebuild import lineage_of

    found = lineage_of(model, config.registry)
    lines = [found.version.uri]
    for step, each in found.steps.items():
        started = f", from {each['config']['version']}" if step == "base" and "version" in each["config"] else ""
        lines.append(f"  {step}: output {each['output'][:12]}, digest {each['digest'][:12]}{started}")
    reasons = found.version.not_rebuildable
    lines += ["it cannot be rebuilt exactly:", *(f"  {reason}" for reason in reasons)] if reasons else []
    lines += ["to rebuild it, from a clone of the repository:", *(f"  {line}" for line in found.commands)]
    data = {"uri": found.version.uri, "steps": found.steps, "commands": found.commands, "not_rebuildable": reasons}
    return Result(data=data, text="\n".join(lines))


def reproduce(
    config: Config,
    model: Annotated[str, typer.Argument()] = "tracer-planner@champion",
    threads: Annotated[int | None, typer.Option(min=1, help="Instead of the recorded numbers of threads.")] = None,
) -> Result:
    """Make a registered model again from its commit and data, and compare. Exit code 1 unless all of it is equal.

    Example: tracer reproduce tracer-planner@champion
    """
    from tracer.registry.reproduce import reproduce

    found = reproduce(model, config.registry, threads)
    lines = []
    for each in found:
        lines.append(f"{each.step}: {'equal' if each.equal else 'differs'}, output {each.then[:12]} -> {each.now[:12]}")
        lines += [] if each.equal else [f"  first in {each.place}", "  what else is different:"]
        lines += [f"    {cause}" for cause in each.causes]
        lines += [] if each.equal else [f"  the same: {', '.join(each.ruled_out)}"]
    return Result(data=found, text="\n".join(lines), ok=all(each.equal for each in found))


def diff(
    config: Config,
    then: Annotated[str, typer.Argument(help="A registered model, such as tracer-planner/1.")],
    now: Annotated[str, typer.Argument(help="Another.")] = "tracer-planner@champion",
) -> Result:
    """Show what two registered models have otherwise: episodes, settings, code, libraries and scores.

    Example: tracer diff tracer-planner/1 tracer-planner@champion
    """
    from tracer.registry import diff as compared

    found = compared.diff(then, now, config.registry)
    return Result(data=found, text="\n".join(compared.describe(found)))


def verify(config: Config) -> Result:
    """Check that everything the registry names is there, unaltered, and nothing besides. Exit code 1 if it is not.

    Example: tracer verify
    """
    from tracer.registry import verify as examined

    return examination(examined.verify(config))


def gc(
    config: Config,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> Result:
    """Remove what no registered version and no running step needs: old folders, checkpoints, caches, deleted runs.

    Example: tracer gc --dry-run
    """
    from pipelines import retention
    from tracer.registry import gc as collecting

    removed = collecting.collect(config, dry_run)
    runs = retention.prune(config.registry.keep_runs_days, dry_run)
    removed += [collecting.Removed(what="run of Dagster", where=run, size=0) for run in runs]
    lines = [f"{each.what}: {each.where}{f', {each.size / 1e6:.1f} MB' if each.size else ''}" for each in removed]
    total = sum(each.size for each in removed) / 1e6
    lines.append(f"{'would free' if dry_run else 'freed'} {total:.1f} MB")
    return Result(data=removed, text="\n".join(lines))


Folder = Annotated[Path, typer.Argument(file_okay=False, metavar="DIR", help="The folder of the backup.")]


def backup(config: Config, folder: Folder) -> Result:
    """Write everything that registered models need into a new folder: registry, record, data, git history.

    Example: tracer backup /mnt/backups/monday
    """
    from tracer.registry import backup as backups

    found = backups.backup(config, folder)
    return Result(data=found, text=f"{folder}: {_contents(found)}")


def restore(config: Config, folder: Folder) -> Result:
    """Bring a backup back into a checkout that has no registry.

    Example: tracer restore /mnt/backups/monday
    """
    from tracer.registry import backup as backups

    found = backups.restore(config, folder)
    return Result(data=found, text=f"restored from {folder}: {_contents(found)}")


def webhook(config: Config, url: Annotated[str, typer.Argument(help="Who is told: an https address.")]) -> Result:
    """Have MLflow's server tell others, signed, when an alias moves. The secret is TRACER_WEBHOOK_SECRET.

    Example: tracer webhook https://deploy.example.org/champion
    """
    from tracer.registry import webhooks

    made = webhooks.subscribe(config.registry, url)
    return Result(data={"webhook": made, "url": url}, text=f"{url} is told when an alias moves (webhook {made})")


def grant(
    config: Config,
    user: Annotated[str, typer.Argument(help="A user of MLflow's server.")],
    role: Annotated[Role, typer.Argument(help="trainer registers versions; promoter decides on them, too.")],
) -> Result:
    """Grant a user what a role needs on MLflow's server, as its administrator. Run it before the first registration.

    Example: tracer grant nightly trainer
    """
    from tracer.registry import roles

    granted = roles.grant(config.registry, user, Role(role))
    return Result(data={"user": user, "granted": granted}, text=aligned(granted))


def _contents(found: dict[str, Any]) -> str:
    numbers = ", ".join(map(str, found["versions"])) or "none"
    return f"{found['model']}, versions {numbers}, champion {found['champion']}, made {found['made']}"


COMMANDS = (
    register, promote, approve, reject, rollback, history, lineage, reproduce, diff, verify, gc, backup, restore,
    webhook, grant,
)  # fmt: skip

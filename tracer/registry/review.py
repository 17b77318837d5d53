"""What people decide on a version: to approve what the gate let through, or to reject it."""

from __future__ import annotations

from tracer.lineage.digest import digest_of
from tracer.registry import promotion, users, versions
from tracer.registry.record import Decision, Record
from tracer.registry.settings import RegistryConfig
from tracer.registry.tracking import RegistryError


def approve(config: RegistryConfig, number: int, reason: str) -> Decision:
    """Make a version champion that passed the gate and waits; the entry repeats the whole verdict.

    Raises ``RegistryError`` for a version that does not wait, whose verdict is about another champion than today's, or
    that the user registered.
    """

    def decide(past: Record) -> Decision:
        version = versions.version_of(f"{config.model}/{number}", config)
        verdict = next((each for each in reversed(past.decisions) if each.version == number), None)
        if verdict is None or verdict.outcome != "waiting":
            judge = config.command("promote")
            found = f"it was {verdict.outcome}" if verdict else f"it was never judged (`{judge}` does that)"
            raise RegistryError(f"version {number} of {config.model} does not wait for approval: {found}")
        if verdict.incumbent != promotion.named(past.champion):
            raise RegistryError(
                f"version {number} was compared with {promotion.shown(verdict.incumbent)}, and the champion is now "
                f"version {past.champion}; `{config.command('promote')}` compares it again"
            )
        users.require_other(config, version)
        digest = digest_of({"approved": number, "after": past.head})
        return promotion.entry(config, past, "approved", version, reason, digest, verdict.checks)

    return promotion.decided(config, decide)


def reject(config: RegistryConfig, number: int, reason: str) -> Decision:
    """Keep a version from becoming champion, whatever the gate says; raises ``RegistryError`` for the champion."""

    def decide(past: Record) -> Decision:
        version = versions.version_of(f"{config.model}/{number}", config)
        if past.champion == number:
            raise RegistryError(
                f"version {number} is champion: `{config.command('rollback --reason WHY')}` brings back the last one"
            )
        digest = digest_of({"rejected": number, "after": past.head})
        return promotion.entry(config, past, "rejected", version, reason, digest)

    return promotion.decided(config, decide)

"""The promotion policy, and the statistics of the gate: who is better on the very same items, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from tracer import json_lines
from tracer.evaluation.results import RESULTS, SCORES
from tracer.faults import faults
from tracer.json_files import read_json
from tracer.lineage.digest import LineageError
from tracer.lineage.step import read_lineage
from tracer.settings import ConfigError, Section
from tracer.statistics import mcnemar, paired_difference
from tracer.training.gates import GATE

REQUIREMENTS = {
    "validation": ("validate", "validation.json", "success", "the data passed every expectation"),
    "gate": ("gate", GATE, "open", "the gate behind the last stage is open"),
}
"""The evaluation that a requirement looks at, its file, the key that has to be true there, and what that means."""


class Rule(Section):
    """What is asked of one metric of one evaluation."""

    name: str
    evaluation: str
    metric: str
    where: dict[str, Any] = Field(default={})
    """What a row has to have, by field, to count."""


class Comparison(Rule):
    """A metric paired by item."""

    item: tuple[str, ...] = Field(min_length=1)
    """The fields of a row that make it one case."""
    cluster: str
    """The field whose rows hang together."""


class Primary(Comparison):
    """A comparison that the challenger has to win."""

    min_gain: float = Field(default=0.0, ge=0)
    """How much the mean has to gain."""


class Guard(Comparison):
    """A comparison that the challenger must not lose."""

    max_loss: float = Field(default=0.0, ge=0)
    """How much the mean may lose."""
    optional: bool = False
    """Whether the check is skipped where neither side has the evaluation."""


class Limit(Rule):
    """Bounds of one of the challenger's means."""

    min: float | None = None
    max: float | None = None


class Policy(Section):
    """mlflow/promotion.yaml."""

    confidence: float = Field(gt=0.5, lt=1)
    resamples: int = Field(ge=100)
    primary: tuple[Primary, ...] = Field(min_length=1)
    """One comparison, or a list."""
    wins: Literal["all", "any"] = "all"
    """How many of several primary comparisons have to be won. For ``any`` each is tested at the confidence that
    Bonferroni's correction asks for; ``all`` needs no correction, because each has to hold on its own."""
    first: Literal["better", "not_worse"] = "better"
    """What the first champion has to be, compared with the base planner, in the primary comparisons: better, as
    ``wins`` says, or not worse in any."""
    min_items: dict[str, int] = Field(default={})
    """Evaluation -> how many items a comparison or a limit on it has to rest on; fewer fail it."""
    guards: tuple[Guard, ...] = ()
    limits: tuple[Limit, ...] = ()
    required: tuple[Literal["validation", "gate", "files"], ...] = ()
    rebuildable: Literal["required", "marked"] = "marked"
    """Whether a version that cannot be made again from a clone may be promoted, or is only marked."""
    approval: Literal["required", "none"] = "none"
    """Whether somebody else than its author has to approve a version that passes."""
    signature: Literal["required", "none"] = "none"
    """Whether a version is loaded and promoted only with a signature (tracer/registry/signing.py)."""
    public_key: Path | None = None
    """The file, in PEM, that signatures are verified with."""

    @field_validator("primary", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return given if isinstance(given, list | tuple) else [given]

    @model_validator(mode="after")
    def _looked_at(self) -> Policy:
        if (self.signature == "required") != (self.public_key is not None):
            raise ValueError("`signature: required` needs a `public_key`, and nothing else reads it")
        rules: tuple[Rule, ...] = (*self.primary, *self.guards, *self.limits)
        unknown = self.min_items.keys() - {rule.evaluation for rule in rules}
        if unknown:
            raise ValueError(f"min_items: no comparison and no limit looks at {', '.join(sorted(unknown))}")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of a decision and its numbers."""

    name: str
    passed: bool
    description: str
    numbers: Mapping[str, float]


def load(path: Path) -> Policy:
    """The policy of a file; raises ``ConfigError``."""
    try:
        return Policy.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(f"{path} does not exist; registry.policy names the promotion policy") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: {faults(error)}") from error


def judge(
    policy: Policy, ours: Mapping[str, Path], theirs: Mapping[str, Path], seed: int = 0, first: bool = False
) -> list[Check]:
    """The primary comparisons, the guards and the limits, each as a check. ``first``: there is no champion yet."""
    better = not (first and policy.first == "not_worse")
    found: list[tuple[Rule, Check]] = [
        *zip(policy.primary, _primaries(policy, ours, theirs, seed, better), strict=True),
        *((guard, guarded(policy, guard, ours, theirs, seed)) for guard in policy.guards),
        *((limit, within(limit, ours)) for limit in policy.limits),
    ]
    return [enough(policy, rule, check) for rule, check in found]


def _primaries(
    policy: Policy, ours: Mapping[str, Path], theirs: Mapping[str, Path], seed: int, better: bool
) -> list[Check]:
    if not better:
        return [compared(policy, rule, ours, theirs, seed) for rule in policy.primary]
    count = len(policy.primary)
    if policy.wins == "any":
        policy = policy.model_copy(update={"confidence": 1 - (1 - policy.confidence) / count})
    found = [compared(policy, rule, ours, theirs, seed, min_gain=rule.min_gain) for rule in policy.primary]
    if policy.wins == "all":
        return found
    won = any(check.passed for check in found)
    note = f"and one of {count} has to be won"
    return [
        replace(check, passed=won, description=f"{check.description}; {'' if check.passed else 'not '}won, {note}")
        for check in found
    ]


def enough(policy: Policy, rule: Rule, check: Check) -> Check:
    """A check, failed if it rests on fewer items than ``min_items``; one that was skipped rests on none."""
    least = policy.min_items.get(rule.evaluation, 0)
    count = check.numbers.get("items", least)
    if count >= least:
        return check
    text = f"not enough items: {count:.0f} of {rule.evaluation!r}, and min_items asks for {least}; {check.description}"
    return replace(check, passed=False, description=text)


def guarded(policy: Policy, guard: Guard, ours: Mapping[str, Path], theirs: Mapping[str, Path], seed: int) -> Check:
    """Whether a guard's mean is not significantly worse by more than it may lose."""
    if guard.optional and not (rows(guard, ours) and rows(guard, theirs)):
        why = unmeasured(guard, ours)
        text = f"{guard.name} was not evaluated: skipped{why and f', {why}'}"
        return Check(name=guard.name, passed=True, description=text, numbers={})
    return compared(policy, guard, ours, theirs, seed, max_loss=guard.max_loss)


def compared(
    policy: Policy,
    rule: Comparison,
    ours: Mapping[str, Path],
    theirs: Mapping[str, Path],
    seed: int,
    *,
    min_gain: float | None = None,
    max_loss: float = 0.0,
) -> Check:
    """Whether a mean is significantly better, by at least ``min_gain``.

    Without ``min_gain``: whether it is not significantly worse by more than ``max_loss``.
    """
    numbers = paired(policy, rule, ours, theirs, seed)
    if min_gain is None:
        passed, asked = numbers["high"] >= -max_loss, f"may lose {max_loss}"
    else:
        passed, asked = numbers["low"] > 0 and numbers["difference"] >= min_gain, f"has to gain {min_gain}"
    text = (
        f"{rule.name}: {numbers['challenger']:.4f} against {numbers['incumbent']:.4f} on {numbers['items']:.0f} items, "
        f"difference {numbers['difference']:+.4f}, one-sided {100 * policy.confidence:.4g}% bounds "
        f"[{numbers['low']:+.4f}, {numbers['high']:+.4f}]; it {asked}"
    )
    return Check(name=rule.name, passed=passed, description=text, numbers=numbers)


def within(limit: Limit, ours: Mapping[str, Path]) -> Check:
    """Whether the mean of a metric is inside its limits."""
    values = [float(row[limit.metric]) for row in rows(limit, ours)]
    if not values:
        raise LineageError(
            f"the limit {limit.name!r} has no row of {limit.evaluation!r} to look at; evaluate the challenger"
        )
    mean = sum(values) / len(values)
    bounds = {"min": limit.min, "max": limit.max}
    given = {key: bound for key, bound in bounds.items() if bound is not None}
    passed = given.get("min", mean) <= mean <= given.get("max", mean)
    allowed = ", ".join(f"{key} {bound}" for key, bound in given.items())
    text = f"{limit.name}: {mean:.4f} ({allowed})"
    return Check(
        name=limit.name, passed=passed, description=text, numbers={"mean": mean, "items": len(values), **given}
    )


def paired(
    policy: Policy, rule: Comparison, ours: Mapping[str, Path], theirs: Mapping[str, Path], seed: int
) -> dict[str, float]:
    """The difference of the means over the same items, its one-sided bounds, and McNemar's test where it applies.

    Raises ``LineageError`` where the two sides do not have the same items.
    """
    left, right = items(rule, ours), items(rule, theirs)
    if not left or left.keys() != right.keys():
        raise LineageError(
            f"{rule.name}: the challenger has {len(left)} items and the incumbent {len(right)}, of which "
            f"{len(left.keys() & right.keys())} are the same; evaluate both on the same held-out items"
        )
    keys = sorted(left, key=str)
    a, b = [left[key][0] for key in keys], [right[key][0] for key in keys]
    gain = paired_difference(
        a, b, [left[key][1] for key in keys], resamples=policy.resamples, seed=seed, level=2 * policy.confidence - 1
    )
    assert gain.mean is not None and gain.low is not None and gain.high is not None
    numbers = {
        "challenger": sum(a) / len(a),
        "incumbent": sum(b) / len(b),
        "difference": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "items": len(keys),
        "clusters": gain.clusters,
    }
    if all(value in (0.0, 1.0) for value in a + b):
        test = mcnemar([value == 1 for value in a], [value == 1 for value in b])
        numbers |= {"only_challenger": test.only_ours, "only_incumbent": test.only_theirs, "mcnemar_p": test.p}
    return numbers


def items(rule: Comparison, evaluations: Mapping[str, Path]) -> dict[tuple[Any, ...], tuple[float, Any]]:
    """Item -> (value, cluster). A row whose metric is null is not scorable and is left out, on both sides alike."""
    found = {}
    for row in rows(rule, evaluations):
        if row[rule.metric] is None:
            continue
        key = tuple(row[field] for field in rule.item)
        if key in found:
            raise LineageError(
                f"{rule.name}: two rows of {rule.evaluation!r} are the item {key}; name more fields in 'item'"
            )
        found[key] = (float(row[rule.metric]), row[rule.cluster])
    return found


def rows(rule: Rule, evaluations: Mapping[str, Path]) -> list[dict[str, Any]]:
    """The rows of the evaluation that count; none where there is no such evaluation."""
    path = evaluations.get(rule.evaluation)
    if path is None or not (path / RESULTS).is_file():
        return []
    return [
        row
        for row in json_lines.iterate(path / RESULTS)
        if all(row.get(name) == value for name, value in rule.where.items())
    ]


def unmeasured(rule: Rule, evaluations: Mapping[str, Path]) -> str:
    """Why an evaluation was skipped, in its own words; empty for one that was not."""
    path = evaluations.get(rule.evaluation)
    if path is None or not (path / SCORES).is_file():
        return ""
    return str(read_json(path / SCORES).get("skipped", ""))


def comparable(ours: Path, theirs: Path) -> bool:
    """Whether two evaluations are of the same items, by the same code, under the same settings."""
    a, b = read_lineage(ours), read_lineage(theirs)
    return all(a[key] == b[key] for key in ("config", "code", "seed")) and _data(a) == _data(b)


def _data(lineage: Mapping[str, Any]) -> dict[str, str]:
    return {name: source["digest"] for name, source in lineage["inputs"].items() if name != "model"}


def require_comparable(ours: Path, theirs: Path) -> None:
    """Raise ``LineageError`` unless two evaluations can be compared."""
    if not comparable(ours, theirs):
        raise LineageError(
            f"{theirs} was evaluated on other items, settings or code than the challenger; evaluate it again"
        )


def requirement(name: str, ours: Mapping[str, Path]) -> tuple[bool, str]:
    """Whether a required evaluation is there and passed, and what that means."""
    step, file, key, text = REQUIREMENTS[name]
    document = ours[step] / file if step in ours else None
    if document is None or not document.is_file():
        return False, f"{text} (it was registered without that step)"
    return bool(read_json(document, key)[key]), text

"""Protocols as data: which items, which rules, which aggregation. Every score carries its protocol's digest.

``protocols/<benchmark>.yaml`` holds ``common`` settings, the ``protocols`` by name, and which of them is the
``default`` if it is not the first; a protocol lists what differs from ``common``, or from the one it ``inherits``. Two
scores are comparable only if their digests are equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from tracer import plugins
from tracer.action import Action
from tracer.faults import faults
from tracer.lineage.digest import digest_of
from tracer.settings import ConfigError, Section


class ProtocolError(ConfigError):
    """A protocol that does not exist or does not hold together; the message names the file and the fix."""


class ItemSet(Section):
    """Which items a score is over."""

    set: str
    """The item set in words."""
    count: int | None = Field(default=None, gt=0)
    """How many items it has; None where its source does not say."""
    filter: str = ""
    """Which rows are left out, and why."""
    unit: Literal["step", "task", "question", "query", "episode"] = "step"


class Metric(Section):
    """How a metric's numerators and denominators become one figure.

    ``pooled``: sum over sum. ``macro``: the mean over clusters of their sum over sum. With ``padded``, a cluster's
    denominator is at least its size, in both. ``hit``: pooled over the categories of which some item was hit.
    ``strata``: the mean over strata of the pooled figure. ``episodes``: the share of complete clusters that are right
    in every item, 0 where none is complete; ``strata_episodes``: its mean over strata. ``f1``: of the pooled metrics
    ``precision`` and ``recall`` it names, 0 where there is nothing to recall.
    """

    kind: Literal["pooled", "hit", "macro", "strata", "episodes", "strata_episodes", "f1"] = "pooled"
    of: str = ""
    """The parts it reads; by default those of its own name."""
    padded: bool = False
    precision: str = ""
    recall: str = ""
    note: str = ""


class Decoding(Section):
    """How predictions are made by ``tracer evaluate``; a score of given predictions cannot check it."""

    temperature: float = 0.0
    history: str = ""
    images: str = ""
    max_steps: int | None = None


class BenchmarkProtocol(Section):
    """One named, versioned way to score one benchmark."""

    benchmark: str
    name: str
    version: int = Field(ge=1)
    title: str
    source: tuple[str, ...]
    """Where the rules were published."""
    items: ItemSet
    instruction: str = ""
    """What the model is told, for example the goal alone (high) or with the step instruction (low)."""
    coordinates: str = ""
    """The space in which points are compared."""
    actions: dict[str, str] = Field(default_factory=dict)
    """Our action types -> the protocol's names."""
    match: dict[str, Any]
    """The rule's name, radii and thresholds; the benchmark's module reads them."""
    metrics: dict[str, Metric]
    primary: str
    """The headline metric."""
    decoding: Decoding = Decoding()
    deviations: tuple[str, ...] = ()
    """Where this differs from the original."""
    strict: bool = True
    """Refuse an empty prediction that an official substring test would pass."""

    @cached_property
    def digest(self) -> str:
        """sha256 over everything above."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def id(self) -> str:
        """The protocol's full name: ``benchmark/name``, and ``/lenient`` where it is."""
        return f"{self.benchmark}/{self.name}" + ("" if self.strict else "/lenient")

    def name_of(self, action: Action, default: str) -> str:
        """The protocol's name for an action of ours; ``default`` for a type that its action map lacks."""
        return self.actions.get("terminate_failure" if action.get("status") == "failure" else action.type, default)


def names(benchmark: str) -> list[str]:
    """The names of a benchmark's protocols; raises ``ProtocolError``."""
    return list(_document(benchmark)["protocols"])


def default(benchmark: str) -> str:
    """The name of the protocol that a benchmark is scored by unless another is named; raises ``ProtocolError``."""
    return str(_document(benchmark).get("default") or names(benchmark)[0])


def load(benchmark: str, name: str, strict: bool | None = None) -> BenchmarkProtocol:
    """A protocol by name; ``strict`` overrides its own setting, and so its digest. Raises ``ProtocolError``."""
    document = _document(benchmark)
    settings = _resolve(document, benchmark, name, ())
    if strict is not None:
        settings["strict"] = strict
    try:
        protocol = BenchmarkProtocol.model_validate({**settings, "benchmark": benchmark, "name": name})
    except ValidationError as error:
        raise ProtocolError(f"protocols/{benchmark}.yaml, {name}:\n  " + faults(error, "\n  ")) from error
    if protocol.primary not in protocol.metrics:
        raise ProtocolError(f"protocols/{benchmark}.yaml, {name}: primary {protocol.primary!r} is not a metric of it")
    return protocol


def _document(benchmark: str) -> dict[str, Any]:
    package = plugins.module_of(plugins.BENCHMARKS, benchmark).rpartition(".")[0]
    path = resources.files(package) / "protocols" / f"{benchmark}.yaml"
    if not path.is_file():
        raise ProtocolError(f"the package {package} has no protocols/{benchmark}.yaml; put the protocols there")
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict) or set(document) - {"default"} != {"common", "protocols"}:
        raise ProtocolError(f"protocols/{benchmark}.yaml needs the keys common and protocols, and may have default")
    return document


def _resolve(document: Mapping[str, Any], benchmark: str, name: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if name not in document["protocols"]:
        known = ", ".join(document["protocols"])
        raise ProtocolError(f"{benchmark} has no protocol {name!r}; it has: {known}")
    if name in seen:
        raise ProtocolError(f"protocols/{benchmark}.yaml: {' -> '.join((*seen, name))} inherits in a circle")
    own = dict(document["protocols"][name])
    parent = own.pop("inherits", None)
    base = _resolve(document, benchmark, parent, (*seen, name)) if parent else document["common"]
    return _merge(base, own)


def _merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """``own`` over ``base``: ``items`` and ``decoding`` key by key, deviations added, every other value whole."""
    merged = dict(base)
    for key, value in own.items():
        inner = key in ("items", "decoding") and isinstance(base.get(key), Mapping)
        merged[key] = {**base[key], **value} if inner else value
    merged["deviations"] = [*base.get("deviations", ()), *own.get("deviations", ())]
    return merged

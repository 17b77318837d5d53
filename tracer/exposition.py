"""Prometheus's text format, in which serving, training and the queue tell their metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

TYPE = "text/plain; version=0.0.4; charset=utf-8"
Sample = tuple[Mapping[str, object], float]
"""The labels of a value, and the value."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric, with a sample for each of its labels' values."""

    name: str
    kind: Literal["counter", "gauge"]
    about: str
    samples: Sequence[Sample]

    def __str__(self) -> str:
        lines = [f"# HELP {self.name} {self.about}", f"# TYPE {self.name} {self.kind}"]
        for labels, value in self.samples:
            named = ",".join(f'{label}="{_quoted(str(each))}"' for label, each in labels.items())
            lines.append(f"{self.name}{{{named}}} {value:.15g}" if named else f"{self.name} {value:.15g}")
        return "\n".join(lines)


def text(families: Iterable[Family]) -> str:
    """All of them."""
    return "".join(f"{family}\n" for family in families)


def _quoted(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

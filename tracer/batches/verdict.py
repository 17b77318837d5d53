"""The verdict on a batch: what was looked at, what was found, and the report on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tracer.batches.drift import Shift
from tracer.finding import Finding
from tracer.json_files import read_json, write_json

REPORT, PICTURE = "report.json", "drift.png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was decided on an arrival."""

    batch: str
    """Its name: the beginning of the digest of its files."""
    arrived: str
    source: str
    findings: tuple[Finding, ...]
    shifts: tuple[Shift, ...] = ()
    splits: Mapping[str, int] = field(default_factory=dict)
    """New episodes by split."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Episode -> why it is not new."""
    known: bool = False
    """Whether the data has it already, so that nothing was judged."""
    pinned: str = ""
    """Where the pin went, in words."""

    @property
    def accepted(self) -> bool:
        """Whether nothing was found that stands against it."""
        return all(finding.ok for finding in self.findings)

    @property
    def drifted(self) -> list[str]:
        """The traits that are further from the champion's data than they may be."""
        return [shift.name for shift in self.shifts if shift.drifted]

    def to_dict(self) -> dict[str, Any]:
        """The verdict as a report holds it."""
        return {"accepted": self.accepted, **asdict(self), "findings": [asdict(each) for each in self.findings]}

    def __str__(self) -> str:
        return described(self.to_dict())


def described(report: Mapping[str, Any]) -> str:
    """A report in words."""
    new = ", ".join(f"{count} {split}" for split, count in report["splits"].items()) or "no episode"
    lines = [f"batch {report['batch']}, {'accepted' if report['accepted'] else 'refused'}: {new}"]
    for finding in report["findings"]:
        lines.append(f"  {'ok' if finding['ok'] else 'NO'}  {finding['name']}: {finding['detail']}")
        lines += [f"      fix: {finding['fix']}"] if finding["fix"] and not finding["ok"] else []
    return "\n".join([*lines, *([f"  {report['pinned']}"] if report["pinned"] else [])])


def write(verdict: Verdict, folder: Path) -> None:
    """Write the report into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / REPORT, verdict.to_dict())


def read(folder: Path) -> dict[str, Any]:
    """The report in a folder; raises ``OSError`` where there is none, and ``DamagedFile``."""
    return dict(read_json(folder / REPORT, "batch", "accepted", "findings", "splits", "pinned"))

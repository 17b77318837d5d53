"""Known vulnerabilities of the pinned packages (`make audit`), and which packages nobody could be asked about.

pip-audit takes a package that its service does not know for clean, and ends in a traceback where it reaches none. Here
both are said, and `--require` makes them an error. PIP_AUDIT_VULNERABILITY_SERVICE=osv asks OSV in place of PyPI.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = ("constraints.txt", "infra/constraints-gpu.txt")
SECONDS = 300


def report(program: Path) -> list[dict[str, Any]] | str:
    """What pip-audit found, a row a package; or why it found nothing out."""
    files = [word for name in PINS for word in ("--requirement", name)]
    command = [str(program), *files, "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=SECONDS)
        return list(json.loads(done.stdout)["dependencies"])
    except subprocess.TimeoutExpired:
        return f"no answer within {SECONDS} seconds"
    except ValueError:
        return next(iter(done.stderr.strip().splitlines()[-1:]), f"pip-audit ended with code {done.returncode}")


def verdict(found: list[dict[str, Any]] | str, require: bool) -> tuple[str, int]:
    """The lines to print, and the exit code."""
    if isinstance(found, str):
        return f"NOT CHECKED: no package was looked up ({found})", int(require)
    holes = [
        f"{each['name']} {each['version']}: {hole['id']}, fixed in {', '.join(hole['fix_versions']) or 'no version'}"
        for each in found
        for hole in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in found if "skip_reason" in each]
    lines = [*holes, f"{len(found) - len(skipped)} packages checked, {len(holes)} known vulnerabilities"]
    if skipped:
        some = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        lines.append(f"NOT CHECKED: {len(skipped)} of {len(found)} packages, which the service does not know: {some}")
    return "\n".join(lines), int(bool(holes) or (require and bool(skipped)))


if __name__ == "__main__":
    text, code = verdict(report(Path("build/audit/bin/pip-audit")), "--require" in sys.argv)
    print(text)
    sys.exit(code)

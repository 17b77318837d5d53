"""A version means one thing: in pyproject.toml, CITATION.cff, the changelog, and the tag of a tagged commit."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_a_version_is_the_same_everywhere() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (newest, *_) = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert newest == f"[Unreleased], to become {version}" or re.fullmatch(rf"\[{version}\] - \d{{4}}-\d\d-\d\d", newest)
    tags = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert {tag for tag in tags.stdout.split() if re.match(r"v\d", tag)} <= {f"v{version}"}

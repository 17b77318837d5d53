"""The supply chain's checks: what pip-audit did not check is not taken for clean, and secrets in files are found."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CLEAN = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
BAD = {"name": "c", "version": "2", "vulns": [{"id": "CVE-2026-1", "fix_versions": ["2.1"], "aliases": []}]}
SECRETS = {
    "keys.yaml": "a: {POSTGRES_PASSWORD: hunter2}",  # pragma: allowlist secret
    "address.yaml": "url: postgresql://mlflow:hunter2@postgres/mlflow",  # pragma: allowlist secret
    "client.py": 'api_key = "sk-0a1b2c3d4e5f"',  # pragma: allowlist secret
    "cloud.cfg": "aws_access_key_id = AKIAIOSFODNN7EXAMPL9",  # pragma: allowlist secret
    "key.pem": "-----BEGIN EC PRIVATE KEY-----",  # pragma: allowlist secret
}


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "infra" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_what_was_checked_is_clean(audit: ModuleType) -> None:
    assert audit.verdict([CLEAN], require=True) == ("1 packages checked, 0 known vulnerabilities", 0)
    text, code = audit.verdict([CLEAN, UNKNOWN], require=False)
    assert text.splitlines()[0].startswith("1 packages checked") and code == 0
    assert text.splitlines()[1].startswith("NOT CHECKED: 1 of 2 packages") and text.endswith(": b")
    assert audit.verdict([CLEAN, UNKNOWN], require=True)[1] == 1
    text, code = audit.verdict([CLEAN, BAD], require=False)
    assert text.startswith("c 2: CVE-2026-1, fixed in 2.1\n") and code == 1
    assert audit.verdict("no route", require=False) == ("NOT CHECKED: no package was looked up (no route)", 0)
    assert audit.verdict("no route", require=True)[1] == 1


def test_pip_audit_that_says_nothing_did_not_check(audit: ModuleType, tmp_path: Path) -> None:
    program = tmp_path / "pip-audit"
    for script, found in (
        ("echo 'Traceback' >&2; echo 'ConnectionError: no route' >&2; exit 1", "ConnectionError: no route"),
        ("exit 3", "pip-audit ended with code 3"),
        (f"echo '{json.dumps({'dependencies': [CLEAN]})}'", [CLEAN]),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o700)
        assert audit.report(program) == found


def test_planted_secrets_are_found_and_references_to_secrets_are_not(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)  # the hook asks git whether the baseline is staged
    shutil.copy(ROOT / ".secrets.baseline", tmp_path)
    for name, text in SECRETS.items():
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    fine = "PASSWORD: ${PASSWORD:?set it in infra/.env}\nsecret: {secretName: tracer-users}\nDIGEST: " + "0a1b" * 16
    (tmp_path / "fine.yaml").write_text(fine + "\n", encoding="utf-8")
    words = ["-m", "detect_secrets.pre_commit_hook", "--baseline", ".secrets.baseline", *SECRETS, "fine.yaml"]
    done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=os.environ, capture_output=True, encoding="utf-8")
    found = [line.split()[1].rpartition(":")[0] for line in done.stdout.splitlines() if line.startswith("Location:")]
    assert done.returncode == 1 and set(found) == set(SECRETS), done.stdout

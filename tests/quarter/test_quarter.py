"""A team's quarter, thirteen weeks of the clock in an hour of this one: ``make quarter``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.quarter.play import quarter
from tests.quarter.team import ROOT
from tests.quarter.weeks import WEEKS

pytestmark = [pytest.mark.quarter, pytest.mark.timeout(6 * 3600)]


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_a_quarter_comes_out_right_whatever_dies(tmp_path: Path, store: str) -> None:
    """The rest is asserted on the way, and in ``tests/quarter/after.py``."""
    found = quarter(tmp_path, store, len(WEEKS), seed=0)
    (ROOT / "build" / "quarter").mkdir(parents=True, exist_ok=True)
    shutil.copy(tmp_path / "summary.json", ROOT / "build" / "quarter" / f"{store}.json")
    decisions = found["decisions"]
    assert decisions["promoted"] >= 3 and decisions["refused"] >= 1 and decisions["rolled back"] >= 1, decisions
    assert found["batches"] == {"accepted": 9, "refused": 3, "removed": 2}
    assert len(found["kills"]) >= 3 and len(found["reproduced"]) == 2, found

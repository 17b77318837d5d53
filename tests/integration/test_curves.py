"""The golden curves: what the code trains today is what it trained when they were written."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.curves import GOLDEN, curves, differences


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    committed: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return committed


def test_training_follows_the_golden_curves(golden: dict[str, Any], tmp_path: Path) -> None:
    found = curves(tmp_path)
    assert found["settings"] == golden["settings"], "curves.py has other settings; run `make golden ARGS=--update`"
    assert list(differences(found, golden)) == []


def test_where_curves_part_is_said(golden: dict[str, Any]) -> None:
    found = copy.deepcopy(golden)
    assert list(differences(found, golden)) == []
    figures = found["curves"]["stage2"][2]
    figures["reward"] += 1e-6
    figures["loss"] = float("nan")
    assert len(list(differences(found, golden))) == 2
    found["processor"] = {**golden["processor"], "instructions": "another"}
    (parted,) = differences(found, golden)  # the reward is near enough there
    assert parted.startswith("stage2, step 3, loss: nan, the golden curve has ")

"""The groups of MiniWoB++ pages: what is trained on, and what must never be."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tracer import cli
from tracer.environments import record as recording
from tracer.environments.demonstrators import DEMONSTRATORS
from tracer.environments.pages import FAMILIES, GROUPS

PAGES = [*chain.from_iterable(GROUPS.values())]


def test_the_groups_are_disjoint_and_all_pages_have_demonstrators() -> None:
    assert len(set(PAGES)) == len(PAGES)
    assert set(PAGES) == set(DEMONSTRATORS)


def test_families_are_in_no_other_group() -> None:
    def families(pages: Sequence[str]) -> set[str]:
        return {"-".join(page.split("-")[:2]) for page in pages}

    others = [page for page in PAGES if page not in FAMILIES]
    assert not families(FAMILIES) & families(others)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_is_listed_in_the_docs_and_recorded_by_its_name(
    group: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    docs = Path("docs/data.md").read_text(encoding="utf-8").split("\n")
    heading = f"- **{group.upper()}** ({len(GROUPS[group])} pages"
    assert next(line for line in docs if line.startswith(heading)).endswith(f": {', '.join(GROUPS[group])}.")

    asked: list[Sequence[str]] = []

    def record(pages: Sequence[str], *_: Any, **__: Any) -> list[Any]:
        asked.append(pages)
        return []

    monkeypatch.setattr(recording, "record", record)
    assert cli.main(["record", "--pages", group, "--split", "train", "--out", str(tmp_path)]) == 0
    assert asked == [GROUPS[group]]

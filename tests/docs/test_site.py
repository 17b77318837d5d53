"""The docs as a site: every page is in it, every picture is there, and a link that leads nowhere fails."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from tests.docs.commands import ROOT

SITE = ROOT / "zensical.toml"


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8")


def test_every_page_is_in_the_navigation() -> None:
    nav = tomllib.loads(SITE.read_text(encoding="utf-8"))["project"]["nav"]
    pages = [page for section in nav for group in section.values() for page in group]
    assert sorted(pages) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))


def test_what_the_pages_link_to_is_part_of_the_site() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).resolve().is_relative_to(ROOT / "docs"), f"{page.name}: {target}"
                assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(SITE, tmp_path)
    done = build(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "build/site/how-to.html").is_file()
    with (tmp_path / "docs/how-to.md").open("a", encoding="utf-8") as page:
        page.write("[no page](nowhere.md) [no anchor](tutorial.md#nowhere)\n")
    done = build(tmp_path)
    assert done.returncode == 1
    assert "page does not exist" in done.stderr and "anchor does not exist" in done.stderr

"""Our own pages in Chromium, and what speaks against them: errors, contrast, scroll regions that take no keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tracer.environments.browser import CHROMIUM_FLAGS, environment, find_chromium

SERIOUS = ("serious", "critical")


@contextmanager
def browsing(address: str, scheme: Any = "light", width: int = 1280, known: tuple[str, ...] = ()) -> Iterator[Any]:
    """A page on which nothing fails: an error of a script, or on the console, fails the test.

    ``known`` are parts of what the console may say all the same, with the address that it is about.
    """
    from playwright.sync_api import sync_playwright

    said: list[str] = []
    with TemporaryDirectory(ignore_cleanup_errors=True) as home, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(CHROMIUM_FLAGS), env=environment(Path(home))
        )
        page = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=scheme).new_page()

        def console(message: Any) -> None:
            text = f"{message.text} {message.location['url']}"
            if message.type == "error" and not any(part in text for part in known):
                said.append(text)

        page.on("console", console)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address)
        yield page
        browser.close()
    assert not said, said


def faults(page: Any) -> list[str]:
    """What axe-core finds serious on a page, with the first place of each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra `dev` is not installed")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{each['id']} ({len(each['nodes'])}): {each['nodes'][0]['html'][:200]} {each['nodes'][0]['failureSummary']}"
        for each in found
        if each["impact"] in SERIOUS
    ]

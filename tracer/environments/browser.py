"""A headless Chromium that shows the same page on every machine: its fonts, flags, locale and time zone are ours.

Text is as wide as its font makes it, so fonts decide where elements are and what fits on the screen. Only the DejaVu
fonts that matplotlib ships are visible to the browser, whatever the machine has installed.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from tracer import package_data
from tracer.settings import ConfigError

Result = TypeVar("Result")
Size = tuple[int, int]
SIZE = WIDTH, HEIGHT = 160, 210
"""The viewport, in CSS pixels: the part of a MiniWoB++ page that is the task."""
SMALLEST = 100
"""Pixels that a page is wide and high at least."""
LOCALE, TIME_ZONE, SCALE = "en-US", "UTC", 1

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_FLAGS = (
    "--no-sandbox",
    f"--lang={LOCALE}",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-smooth-scrolling",
)


class BrowserMissing(RuntimeError):
    """No Chromium was found; the message says what to install."""


def parsed_size(text: str) -> Size:
    """The width and height of ``WIDTHxHEIGHT``; raises ``ConfigError``."""
    found = re.fullmatch(r"(\d{2,4})x(\d{2,4})", text)
    if found is None or min(size := (int(found[1]), int(found[2]))) < SMALLEST:
        raise ConfigError(
            f"{text!r} is not the size of a window; write 1280x720, say, and at least {SMALLEST}x{SMALLEST}"
        )
    return size


def find_chromium() -> str:
    """The path of the first known Chromium on PATH; raises ``BrowserMissing``."""
    for name in CHROMIUM_NAMES:
        found = shutil.which(name)
        if found:
            return found
    raise BrowserMissing(f"no Chromium on PATH ({', '.join(CHROMIUM_NAMES)}); install one: `apt-get install chromium`")


def chromium() -> tuple[str, str]:
    """The browser's version, and why pages cannot be played (empty where they can)."""
    absent = [name for name in ("playwright", "miniwob") if importlib.util.find_spec(name) is None]
    if absent:
        return "", f"not installed: {', '.join(absent)}; install the extra `browser`"
    try:
        path = find_chromium()
    except BrowserMissing as error:
        return "", str(error)
    driver = subprocess.run([driver_node(), "--version"], capture_output=True, encoding="utf-8", timeout=60)
    if driver.returncode != 0:
        return "", f"Playwright does not start: {driver.stderr.strip()[-300:]}; on Debian: `apt-get install libatomic1`"
    asked = subprocess.run([path, "--version"], capture_output=True, encoding="utf-8", timeout=60)
    return asked.stdout.strip() or path, ""


def driver_node() -> str:
    """The program that Playwright's driver runs in."""
    spec = importlib.util.find_spec("playwright")
    assert spec is not None and spec.origin is not None
    return str(Path(spec.origin).parent / "driver" / ("node.exe" if os.name == "nt" else "node"))


def fonts_folder() -> Path:
    """The folder of matplotlib's fonts, found without importing it."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None and spec.origin is not None  # a dependency of this project
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


@cache
def identity() -> dict[str, str]:
    """What decides how a page looks, beside this file: the browser's version and a digest of its fonts.

    Raises ``BrowserMissing``.
    """
    version, missing = chromium()
    if missing:
        raise BrowserMissing(missing)
    fonts = hashlib.sha256()
    for path in sorted(fonts_folder().glob("DejaVu*.ttf")):
        fonts.update(path.name.encode() + path.read_bytes())
    return {"browser": version, "fonts": fonts.hexdigest()}


class Browser(ExitStack):
    """A Chromium, shared by the pages opened in it. A context manager; raises ``BrowserMissing``.

    Its pages are played through one event loop, so that waiting for one need not hold up the others.
    """

    def __init__(
        self, timeout_ms: float = 30_000, *, headless: bool = True, reach: Sequence[str] | None = None
    ) -> None:
        """``timeout_ms``: how long a page may take over one call; ``headless``: without a window that people see.

        ``reach``: the only hosts that pages may reach, where they may not reach every one; ``*`` stands for anything.
        """
        super().__init__()
        self.executable = find_chromium()
        self.timeout_ms = timeout_ms
        self.headless = headless
        # In the browser's network stack, so that redirects, frames and scripts are held to it as well.
        rules = ["MAP * ~NOTFOUND", *(f"EXCLUDE {host}" for host in reach or ())]
        self._flags = [*CHROMIUM_FLAGS, *([] if reach is None else [f"--host-resolver-rules={', '.join(rules)}"])]

    def __enter__(self) -> Self:
        from playwright.async_api import async_playwright

        with ExitStack() as opened:  # a launch that fails must leave no driver behind, which would stop the next one
            home = opened.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            self._runner = opened.enter_context(asyncio.Runner())
            playwright = self.run(async_playwright().start())
            opened.callback(lambda: self.run(playwright.stop()))
            self._chromium = self.run(
                playwright.chromium.launch(
                    executable_path=self.executable,
                    headless=self.headless,
                    args=self._flags,
                    env=environment(Path(home)),
                )
            )
            opened.callback(lambda: self.run(self._chromium.close()))
            self.enter_context(opened.pop_all())
        return self

    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        """What a call returns, once it does."""
        return self._runner.run(call)

    async def new_page(self, size: Size = SIZE) -> Any:
        """A page in a window of its own: one behind another in the same window is given one frame a second."""
        context = await self._chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            service_workers="block",
            device_scale_factor=SCALE,
            locale=LOCALE,
            timezone_id=TIME_ZONE,
            color_scheme="light",
        )
        context.set_default_timeout(self.timeout_ms)
        await context.add_init_script(package_data.read("environments/listeners.js"))
        return await context.new_page()


def environment(home: Path) -> dict[str, str | float | bool]:
    """The browser's environment variables; its font settings and caches are written into ``home``."""
    settings = home / "fonts.conf"
    fonts = package_data.read("environments/fonts.conf").format(fonts=fonts_folder(), cache=home / "fonts")
    settings.write_text(fonts, encoding="utf-8")
    kept: dict[str, str | float | bool] = {
        name: value for name, value in os.environ.items() if not name.startswith(("FONTCONFIG_", "XDG_", "LC_"))
    }
    return kept | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "FONTCONFIG_FILE": str(settings),
        "LANG": "C.UTF-8",
        "TZ": TIME_ZONE,
    }

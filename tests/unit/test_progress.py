"""The progress bar: drawn on a terminal, lines elsewhere, silent on request."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tracer import progress
from tracer.progress import bar

PROGRAM = """
from tracer.progress import bar
with bar("items", 3, done=1) as shown:
    for number in range(2):
        shown.advance(1, f"{number} crashed")
"""


def test_off_a_terminal_a_line_at_the_end_and_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with bar("items", 3, done=1) as shown:
        shown.advance(1, "0 crashed")
        shown.advance(1, "1 crashed")
    assert capsys.readouterr().err == "items: 3/3, 1 crashed\n"
    monkeypatch.setattr(progress, "LINE_SECONDS", -1.0)
    with bar("items", 3) as shown:
        shown.advance(1, "0 crashed")
        assert shown.seconds > 0
    assert capsys.readouterr().err == "items: 1/3, 0 crashed\n"


def test_it_counts_silently(capsys: pytest.CaptureFixture[str]) -> None:
    with bar("items", 1, shown=False) as shown:
        shown.advance(1, "done")
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_it_is_drawn(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    subprocess.run([sys.executable, "-c", PROGRAM], stderr=theirs, env=environment, check=True)
    os.close(theirs)
    drawn = b""
    while chunk := _read(ours):
        drawn += chunk
    os.close(ours)
    text = drawn.decode()
    assert "━" in text and "3/3" in text and "1 crashed" in text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other end of a pseudo terminal was closed
        return b""

"""The commands that README and docs tell people to type, read from their blocks of code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAMS = ("tracer", "make", "dvc", "dagster", "python", "pip", ".", ".venv/bin/python", ".venv/bin/pre-commit",
            "mlflow", "docker", "kubectl", "helm", "sbatch", "accelerate")  # fmt: skip


def pages() -> list[Path]:
    """Everything that a user reads."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "mlflow/README.md"]


def commands(page: Path) -> list[str]:
    """The commands of a page, in order, each once: one a line, or several with ``;`` and ``&&``."""
    found = (command for line in _lines(page.read_text(encoding="utf-8")) for command in _split(line))
    return list(dict.fromkeys(command for command in found if command.split(" ")[0] in PROGRAMS))


def _lines(text: str) -> Iterator[str]:
    """The lines of fenced and of indented blocks, continued ones joined."""
    fenced = None
    before = ""
    for line in text.split("\n"):
        fence = re.match(r"\s*```(\w*)", line)
        if fence:
            fenced = fence[1] or "text" if fenced is None else None
            continue
        if fenced in ("bash", "sh", "text", "console") or (fenced is None and line.startswith("    ")):
            before += line.strip()
            if before.endswith("\\"):
                before = before[:-1]
                continue
            yield before
            before = ""


def _split(line: str) -> Iterator[str]:
    lexer = shlex.shlex(line, posix=False, punctuation_chars=";&")
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for word in lexer:
            if set(word) <= set(";&"):
                yield " ".join(words)
                words = []
            else:
                words.append(word)
    except ValueError:  # prose, or code of another language
        return
    yield " ".join(words)

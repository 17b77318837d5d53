"""Text is UTF-8 wherever the machine stands: nothing depends on its locale."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from tests.episodes import sample, write_raw

ROOT = Path(__file__).parents[2]
OURS = sorted(path for folder in ("tracer", "pipelines", "examples") for path in (ROOT / folder).rglob("*.py"))
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def without_encoding(source: str) -> list[int]:
    """The lines that read or write text in the machine's own encoding."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        function = call.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if name == "read_text":
            text = not call.args
        elif name == "write_text":
            text = len(call.args) < 2
        elif name == "open" and isinstance(function, ast.Name):
            mode = call.args[1] if len(call.args) > 1 else given.get("mode")
            text = not (isinstance(mode, ast.Constant) and "b" in str(mode.value))
        else:
            text = name in ("run", "Popen", "check_output") and bool(given.keys() & {"text", "universal_newlines"})
        if text and "encoding" not in given:
            found.append(call.lineno)
    return found


def test_no_text_is_read_or_written_in_the_encoding_of_the_machine() -> None:
    """Also where no test comes by, which the warning of Python cannot see."""
    assert without_encoding("open(a)\nb.read_text()\nrun(c, text=True)\nd.write_text(e)\nopen(f, 'w')") == [
        1,
        2,
        3,
        4,
        5,
    ]
    assert without_encoding("open(a, 'rb')\nb.read_text('utf-8')\nrun(c)\nopen(d, encoding='utf-8')\ne.open()") == []
    found = {path: without_encoding(path.read_text(encoding="utf-8")) for path in OURS}
    assert {str(path): lines for path, lines in found.items() if lines} == {}


@pytest.mark.skipif(
    not sys.flags.warn_default_encoding, reason="needs PYTHONWARNDEFAULTENCODING=1, as make test sets it"
)
def test_the_warning_is_an_error_in_our_files_alone() -> None:
    for module, raised in (("tracer.config", True), ("pipelines.steps", True), ("torch", False), ("tracery", False)):
        code = compile("open(path).close()", "file.py", "exec")
        names = {"__name__": module, "path": __file__}
        if raised:
            with pytest.raises(EncodingWarning):
                exec(code, names)
        else:
            exec(code, names)
    assert warnings.filters


def test_a_plain_locale_neither_garbles_nor_ends_a_command(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw", sample())
    path = next((tmp_path / "raw").rglob("*.jsonl"))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Click", "Größe → 寸 Click"), encoding="utf-8")
    lines = tmp_path / "line.jsonl"
    lines.write_text('{"action": "type", "text": "Größe → 寸", "step": "type"}\n', encoding="utf-8")
    for arguments in (["ingest", "jsonl", str(tmp_path / "raw"), "--out", str(tmp_path / "out")],
                      ["reward", "--predicted", str(lines), "--reference", str(lines)]):  # fmt: skip
        done = subprocess.run([sys.executable, "-m", "tracer", *arguments], capture_output=True, cwd=ROOT,
                              env={**os.environ, **PLAIN})  # fmt: skip
        assert done.returncode == 0, done.stderr.decode()
    assert b"Gr\\xf6\\xdfe \\u2192 \\u5bf8" in done.stdout

    from tracer.dataset import read

    goals = {found.goal for found in read(tmp_path / "out")}
    assert any(goal.startswith("Größe → 寸 Click") for goal in goals)

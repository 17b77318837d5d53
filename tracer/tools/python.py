"""Python as a tool: a program runs in the jail, and what it prints is the answer."""

from __future__ import annotations

import subprocess

from pydantic import BaseModel, Field

from tracer.tools import jail
from tracer.tools.toolbox import Tool


class Program(BaseModel):
    """What is run."""

    code: str = Field(max_length=20_000, description="A Python program. It sees the standard library and no network.")


class Python(Tool[Program]):
    """Runs one program, each in a jail of its own. Raises ``JailError`` where there can be none."""

    name = "python"
    about = "Runs a Python program; the answer is what it prints."
    arguments = Program

    def run(self, arguments: Program) -> str:
        """What the program prints. Raises ``ValueError`` for one that fails, or takes too much."""
        ended = jail.run(arguments.code)
        if ended.code or ended.stopped:
            raise ValueError(f"{ended.stopped or f'exit code {ended.code}'}\n{ended.output[-2000:]}")
        return ended.output

    def version(self) -> str:
        """Of tracer, bubblewrap and the Python inside. Raises ``JailError``."""
        inside = jail.run("import platform; print(platform.python_version())").output.strip()
        bubblewrap = subprocess.run(["bwrap", "--version"], capture_output=True, check=True).stdout.decode().strip()
        return f"{super().version()}, {bubblewrap}, Python {inside}"

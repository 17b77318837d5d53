"""The command line: help, JSON, exit codes, and what it imports before it runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from tracer import cli

HEAVY = ("torch", "mlflow", "dagster", "great_expectations", "pandas", "matplotlib", "transformers")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(cli.application()))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_with_an_example_and_prints_json(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    about, _, example = command.help.rpartition("Example: ")
    assert about.strip() and example.startswith(f"tracer {' '.join(path)}")
    assert "--json" in {option for each in command.params for option in each.opts}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Usage"),
        (["--help"], 0, "Usage"),
        (["fly"], 2, "No such command"),
        (["ingest", "--seed", "-1"], 2, "--seed"),
        (["record"], 2, "Missing option"),
        (["gate", "stage9"], 2, "stage9"),
        (["why", "stage9"], 1, "there is no step"),
        (["status", "--profile", "none"], 1, "has no profile"),
        (["status", "--set", "nothing"], 1, "dotted.key=value"),
        (["schema", "none"], 1, "unknown benchmark"),
        (["ingest", "--check"], 1, "--check needs a data set"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == code
    shown = capsys.readouterr()
    assert said in shown.out + shown.err and "Traceback" not in shown.err


@pytest.mark.parametrize(
    "arguments", [["status"], ["why", "ingest"], ["schema", "episode"], ["protocols"], ["dvc-yaml"]]
)
def test_json_is_json_and_text_is_not(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.strip()


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tracer.flow.status", interrupted)
    assert cli.main(["status"]) == 130
    assert "continues from the last checkpoint" in capsys.readouterr().err


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    program = "import sys; from tracer.cli import main; main(['status', '--help']); "
    program += f"print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_reader_that_has_seen_enough_ends_it_silently() -> None:
    shell = f"set -o pipefail; {sys.executable} -m tracer schema episode | head -n 1"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert done.stdout == "{\n" and "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    script = typer.completion.get_completion_script(prog_name="tracer", complete_var="_TRACER_COMPLETE", shell=shell)
    assert "tracer" in script

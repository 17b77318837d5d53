"""The command line: help, JSON, exit codes, completion, and what it imports before it runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer
from botocore.exceptions import NoCredentialsError
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from tests import services
from tests.episodes import sample, write_raw
from tests.planners import trajectories
from tracer import cli, plugins
from tracer.cli import inspect
from tracer.cli.common import Result, group
from tracer.config import Config
from tracer.finding import Finding

HEAVY = (
    "torch", "mlflow", "dagster", "great_expectations", "pandas", "matplotlib", "transformers", "numpy", "tracer.flow",
)  # fmt: skip
BEFORE_TYPER = {
    "record", "ingest", "mix", "validate", "base tiny", "train stage1", "train stage2", "base hub",
    "base smollm2", "gate", "evaluate offline", "evaluate online", "report", "score", "protocols", "items", "compare",
    "published", "register", "promote", "rollback", "history", "lineage", "bench", "ablate", "stages", "run", "demo",
    "reward", "doctor", "forecast", *(f"evaluate {name}" for name in plugins.names(plugins.BENCHMARKS)),
}  # fmt: skip
PARAMETERS = Path(__file__).parents[2] / "params.yaml"
CONFIGURED = {"--profile", "--seed", "--set", "--force"}
NO_CONFIGURATION = {
    "record", "score", "protocols", "items", "compare", "published", "schema", "doctor",
}  # fmt: skip


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(cli.application()))


def test_no_command_was_lost() -> None:
    assert set(COMMANDS) >= BEFORE_TYPER


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_help_with_an_example_and_the_common_options(path: str) -> None:
    command = COMMANDS[path]
    about, _, example = command.help.rpartition("Example: ")
    assert about.strip() and example.startswith(f"tracer {path}")
    first = about.strip().split("\n\n")[0]
    assert first[0].isupper() and first.endswith("."), first
    options = {option for each in command.params for option in each.opts}
    assert "--json" in options
    assert options & CONFIGURED == (set() if path in NO_CONFIGURATION else CONFIGURED)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train"], 2, "stage1"),
        (["--help"], 0, "Usage"),
        (["fly"], 2, "No such command"),
        (["ingest", "--seed", "-1"], 2, "--seed"),
        (["ingest", "--workers", "0"], 2, "--workers"),
        (["record"], 2, "record needs one of"),
        (["record", "--pages", "login-user", "--url", "http://localhost"], 2, "give one of them"),
        (["record", "--url", "http://localhost"], 2, "--goal"),
        (["gate", "stage9"], 2, "stage9"),
        (["protocols", "none"], 2, "gaia"),
        (["schema", "none"], 2, "episode"),
        (["published", "nonsense"], 2, "NAME=FOLDER"),
        (["why", "stage9"], 2, "there is no step"),
        (["why", "promote"], 2, "leaves no folder"),
        (["status", "--profile", "none"], 2, "has no profile"),
        (["status", "--set", "nothing"], 2, "dotted.key=value"),
        (["status", "--set", "nothing=1"], 2, "nothing"),
        (["status", "--set", "stage1.steps=[]"], 2, "stage1.steps"),
        (["status", "--set", "stage1.lr=nan"], 2, "stage1.lr"),
        (["status", "--set", "reward.align=1e308"], 2, "reward.align"),
        (["status", "--set", "planner.horizon=11"], 2, "--force"),
        (["status", "--set", "data.source=none"], 2, "unknown source"),
        (["ingest", "--check"], 2, "--check needs a data set"),
        (["ingest", "none", "tests"], 2, "unknown source"),
        (["ingest", "jsonl", "none"], 2, "does not exist"),
        (["ingest", "jsonl", "tests", "--option", "a"], 2, "key=value"),
        (["ingest", "jsonl", "tests", "--option", "a=1"], 2, "no option a"),
        (["ingest", "agentnet", "tests", "--option", "images=maybe"], 2, "option images"),
        (["base", "tiny", "--episodes", "none"], 2, "does not exist"),
        (["train", "stage1", "--start", "none"], 2, "there is no planner"),
        (["forecast", "none"], 2, "there is no planner"),
        (["forecast", "--image", "none", "--goal", "x"], 2, "does not exist"),
        (["forecast", "--image", "tests", "--goal", "x"], 2, "is a directory"),
        (["forecast", "--goal", "Op\udcffen"], 2, "no text in UTF-8"),
        (["forecast", "openai:http://[::1/#m"], 2, "is no address"),
        (["act", "--url", "http://[::1/", "--goal", "x", "--out", "no", "--model", "data/base"], 2, "is no address"),
        (["act", "--url", "localhost:1", "--goal", " ", "--out", "no"], 2, "--goal is empty"),
        (["view", "tests", "--format", "atif", "--out", "no"], 2, "contains no trace"),
        (["evaluate", "offline", "--model", "none"], 2, "there is no planner"),
        (["evaluate", "gaia", "--protocol", "none", "--model", "base"], 2, "no protocol 'none'"),
        (["evaluate", "gaia", "--protocol", "validation", "--model", "base"], 2, "pass --items"),
        (["protocols", "gaia", "none"], 2, "no protocol 'none'"),
        (["items", "gaia", "--protocol", "validation", "--out", "none"], 2, "pass --items"),
        (["diff", f"tracer-planner/{'9' * 20}", "tracer-planner/1"], 2, "version numbers end at"),
        (["compare", "tests", "none"], 2, "does not exist"),
        (["compare", "tests", "tests"], 2, "not a finished score"),
        (["published", "a=none"], 2, "not a finished score"),
        (["reward", "--predicted", "none", "--reference", "tests"], 2, "does not exist"),
        (["ablate", "--only", "none"], 2, "no ablation is called"),
        (["plan", "--fleet", "tests"], 2, "is a directory"),
        (["forecast", "--draw", "tests"], 2, "is a directory"),
        (["gate", "stage1", "--out", "README.md"], 2, "is a file"),
        (["view", "tests", "--out", "README.md"], 2, "is a file"),
        (["metrics", "--no-queue", "--out", "none/tracer.prom"], 2, "the folder none does not exist"),
        (["metrics", "--no-queue", "--out", ""], 2, "is a directory"),
        (["plan", "--profile", "qwen3vl-8b", "--prompt-tokens", "inf"], 2, "above planner.max_prompt_tokens"),
        (["grant", "anna", "trainer", "--set", "registry.tracking_uri=sqlite:///none.db"], 2, "of MLflow's server"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == code
    shown = capsys.readouterr()
    assert says in shown.out + shown.err and "Traceback" not in shown.err


@pytest.mark.parametrize(
    "command",
    ["bench --out", "ablate --out", "stages --out", "compare-agents --out", "record --out", "act --out", "backup"],
)
def test_a_folder_that_is_a_file_is_refused_before_anything_runs(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command.split(), "README.md"]) == 2
    assert "is a file" in capsys.readouterr().err


class Refusing(BaseHTTPRequestHandler):
    """An MLflow server that does not know the password."""

    def do_GET(self) -> None:
        self.send_response(401)
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("command", ["history", "lineage tracer-planner/3", "grant anna trainer"])
def test_a_server_that_refuses_is_no_bug_and_no_missing_version(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with services.listening(ThreadingHTTPServer(("127.0.0.1", 0), Refusing)) as server:
        address = f"http://anna:between-us@127.0.0.1:{server.server_port}"  # pragma: allowlist secret
        assert cli.main([*command.split(), "--set", f"registry.tracking_uri={address}"]) == 1
    said = capsys.readouterr().err
    assert ("401" in said and "MLFLOW_TRACKING_PASSWORD" in said) or "administrator" in said
    assert "between-us" not in said


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (NoCredentialsError(), "tracer: S3: Unable to locate credentials; see whether AWS_ENDPOINT_URL answers"),
        (OperationalError("SELECT", {}, Exception("refused")), "tracer: the database: (builtins.Exception) refused"),
        (MlflowException("no {answer}"), "tracer: MLflow: no {answer}; see whether MLFLOW_TRACKING_URI answers"),
        (OSError("at http://anna:between-us@host/x"), "tracer: at http://host/x"),  # pragma: allowlist secret
    ],
)
def test_what_a_service_says_is_told_in_a_line(
    error: Exception, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def application() -> Any:
        raise error

    monkeypatch.setattr(cli, "application", application)
    assert cli.main([]) == 1
    assert capsys.readouterr().err.startswith(says)


SCORE = "score gaia --protocol validation --items {}/items.jsonl --predictions {}/predictions.jsonl --out {}/scored"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of the commands below, a finished score among them."""
    folder = tmp_path_factory.mktemp("cli")
    rows = [{"id": str(number), "goal": "?", "level": "1", "answer": "1"} for number in range(3)]
    answers = [{"id": str(number), "native": "1"} for number in range(3)]
    for name, lines in (("items", rows), ("predictions", answers), ("forecast", [{"action": "wait", "step": "wait"}])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    write_raw(folder / "raw", sample())
    trajectories(folder)
    assert cli.main(SCORE.replace("{}", str(folder)).split()) == 0
    return folder


@pytest.mark.parametrize(
    "line",
    [
        "status --set build={}/build",
        "why ingest --set build={}/build",
        *(f"schema {name}" for name in inspect.Format),
        "protocols",
        "protocols osworld verified-50",
        "dvc-yaml",
        "items osworld --protocol verified-50 --out {}/osworld.jsonl",
        SCORE,
        "compare {}/scored {}/scored",
        "published ours={}/scored",
        "ingest jsonl {}/raw --out {}/ingested",
        "ingest jsonl {}/raw --check",
        "reward --predicted {}/forecast.jsonl --reference {}/forecast.jsonl",
        "reward --predicted {}/forecast.jsonl --reference {}/trajectories --trajectory jsonl/click-two/0",
        "history --set registry.tracking_uri=sqlite:///{}/mlflow.db",
    ],
)
def test_json_is_json(line: str, files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = line.replace("{}", str(files)).split()
    assert cli.main([*arguments, "--json"]) == 0
    shown = json.loads(capfd.readouterr().out)
    assert shown or line.startswith("history")
    assert cli.main(arguments) == 0
    text = capfd.readouterr().out
    assert text.strip() or line.startswith(("history", "ingest jsonl {}/raw --check"))


def test_alone_it_shows_what_people_do_and_the_help_has_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    shown = [
        line.strip().split("  ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  tracer ")
    ]
    assert len(shown) == 4
    assert all(any(f"{line} ".startswith(f"tracer {name} ") for name in COMMANDS) for line in shown)
    assert cli.main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f" {name.partition(' ')[0]} " in listed for name in COMMANDS)


def test_a_page_that_nobody_can_play_is_named_before_anything_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = "login-user,bisect-angle"  # the second is a page of MiniWoB++
    assert cli.main(["record", "--pages", pages, "--split", "train", "--out", str(tmp_path / "out")]) == 2
    assert "no demonstrator plays bisect-angle; there are: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("ingest --set data.path={}/nowhere", "nowhere does not exist"),
        ("evaluate offline --model {}", "contains no planner"),
        ("train stage1 --start {}", "contains no planner"),
        ("view {}", "contains no evaluation"),
        ("view {}/nowhere", "is not a folder"),
        ("view {} --format cua", "needs a folder to write into: --out DIR"),
        ("restore {}", "is no backup"),
    ],
)
def test_a_call_that_names_what_is_not_there_is_wrong_and_does_nothing(
    line: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(tmp_path)
    shutil.copy(PARAMETERS, tmp_path)
    assert cli.main(line.replace("{}", str(empty)).split()) == 2
    assert named in capfd.readouterr().err
    assert not (tmp_path / "build").exists() or not list((tmp_path / "build").rglob("lineage.json"))


def test_any_result_prints_as_json_and_nothing_else_does(capsys: pytest.CaptureFixture[str]) -> None:
    Kind = StrEnum("Kind", {"a": "a"})
    found = {1: Path("x"), "nan": float("nan"), "finding": Finding("disk", True, "é"), "kind": Kind.a, "pair": (1, 2)}

    def speak() -> Result:
        """Print while working."""
        print("half done")
        return Result(data=found, text="done", ok=False)

    def other() -> None:
        """Print nothing."""

    app = typer.main.get_command(group("Test.", [speak, other]))
    with pytest.raises(SystemExit) as ended:
        app(["speak", "--json"])
    assert ended.value.code == 1
    shown = capsys.readouterr()
    assert shown.err == "half done\n"
    finding = {"name": "disk", "ok": True, "detail": "é", "fix": "", "command": []}
    assert json.loads(shown.out) == {"1": "x", "nan": None, "finding": finding, "kind": "a", "pair": [1, 2]}
    with pytest.raises(SystemExit):
        app(["speak"])
    assert capsys.readouterr().out == "half done\ndone\n"


def test_the_common_options_make_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Config] = []

    def look(config: Config, overrides: list[str]) -> None:
        """Look."""
        assert overrides == ["stage1.steps=7", "planner.horizon=12"]
        seen.append(config)

    def tiny(config: Config, profile: str = "tiny") -> None:
        """Look at a profile that is the command's own default."""
        assert profile == config.profile
        seen.append(config)

    app = typer.main.get_command(group("Test.", [look, tiny]))
    words = ["--profile", "demo", "--seed", "3", "--set", "stage1.steps=7", "--set", "planner.horizon=12", "--force"]
    for arguments in (["look", *words], ["tiny"], ["tiny", "--profile", "micro"]):
        with pytest.raises(SystemExit) as ended:
            app(arguments)
        assert not ended.value.code
    assert (seen[0].profile, seen[0].seed, seen[0].stage1.steps, seen[0].planner.horizon) == ("demo", 3, 7, 12)
    assert [each.profile for each in seen[1:]] == ["tiny", "micro"]


def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tracer.flow.status", interrupted)
    assert cli.main(["status"]) == 130
    assert capsys.readouterr().err == f"{cli.INTERRUPTION}\n"


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
    """`tracer --show-completion` looks at the shell that it runs in; a script for each is one variable away."""
    environment = {**os.environ, "_TRACER_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-m", "tracer"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0 and f"complete_{shell}" in done.stdout and "tracer" in done.stdout


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("tracer ev", {"evaluate"}),
        ("tracer gate ", {"stage1", "stage2"}),
        ("tracer train st", {"stage1", "stage2"}),
        ("tracer score android_", {"android_control", "android_world"}),
        ("tracer evaluate offline --model b", {"base"}),
        ("tracer status --prof", {"--profile"}),
    ],
)
def test_completion_knows_the_commands_and_their_values(typed: str, completed: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split(" ")) - 1)}
    environment = {**os.environ, "_TRACER_COMPLETE": "complete_bash", **words}
    done = subprocess.run([sys.executable, "-m", "tracer"], capture_output=True, text=True, env=environment)
    assert set(done.stdout.split()) == completed, done.stderr

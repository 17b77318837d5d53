"""`make stack` without starting it: its processes are compose.yaml's containers, at other addresses."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.stacks import SCRIPT, module

COMPOSE = yaml.safe_load((SCRIPT.parent / "compose.yaml").read_text(encoding="utf-8"))["services"]
SECRETS = {
    "POSTGRES_PASSWORD", "DAGSTER_DB_PASSWORD", "MLFLOW_DB_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY",
    "MLFLOW_PASSWORD", "S3_SECRET_KEY", "S3_INTERNAL_KEY", "DAGSTER_PASSWORD",
}  # fmt: skip


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with tempfile.TemporaryDirectory(prefix="tracer-") as folder:  # pytest's own may be too long for sockets
        found = module().Stack(Path(folder) / "s")
        for name in found.port_names:
            monkeypatch.delenv(name, raising=False)
        found.folder.mkdir()
        # Caddy, which makes the hash, is not installed everywhere.
        found.secrets_file.write_text(
            "DAGSTER_PASSWORD=between us\nDAGSTER_PASSWORD_HASH=$2a$14$abc\n", encoding="utf-8"
        )
        found.secrets_file.chmod(0o600)
        yield found


def plain(stack: Any, name: str, text: str) -> str:
    """Without what has to be different here: hosts, ports, and where the root of the files is."""
    text = text.replace(str(stack.root(name)), "")
    text = re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda match: stack.secrets[match[1]], text)
    for inside, here in stack.ports.items():
        text = re.sub(rf"(?<![\w.])({inside}|{here})(?![\w.])", f"port-{inside}", text)
    hosts = "|".join(["127.0.0.1", "0.0.0.0", *COMPOSE])
    return re.sub(rf"\b({hosts})(?=:(\d|port)|$)", "host", text)


@pytest.mark.parametrize("name", COMPOSE)
def test_a_process_is_what_its_container_is(stack: Any, name: str) -> None:
    service = COMPOSE[name]
    given = [*service.get("entrypoint", []), *service["command"]]
    assert [plain(stack, name, word) for word in stack.command(name)] == [plain(stack, name, word) for word in given]
    here, there = stack.environment(name), service["environment"]
    added = here.keys() - there.keys()
    assert there.keys() <= here.keys() and added <= {"PATH", "TRACER_STACK", *module().PASSED}
    for key, value in there.items():
        assert plain(stack, name, here[key]) == plain(stack, name, value or f"${{{key}}}"), key


def test_every_port_is_listed_once_and_only_what_has_a_login_is_published(stack: Any) -> None:
    named = {
        name: set(re.findall(r"(?:--port |-p |\.port(?:\.grpc)?=)([1-9]\d*)", " ".join(COMPOSE[name]["command"])))
        | {value for key, value in COMPOSE[name]["environment"].items() if key == "PROXY_PORT"}
        for name in COMPOSE
    }
    listed = {
        name: {*service.get("expose", []), *(port.rsplit(":", 1)[1] for port in service.get("ports", []))}
        for name, service in COMPOSE.items()
    }
    assert named == listed
    every = [port for ports in listed.values() for port in ports]
    assert len(every) == len(set(every)) == len(set(stack.ports.values())) == len(stack.ports)
    assert {name for name, service in COMPOSE.items() if "ports" in service} == {"s3", "mlflow", "proxy"}


def test_secrets_are_made_once_and_each_process_gets_its_own_alone(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.setenv("MLFLOW_ADMIN_PASSWORD", "of the shell")
    made = {name: stack.secrets[name] for name in SECRETS}
    assert len(set(made.values())) == len(SECRETS)
    assert stack.secrets_file.stat().st_mode & 0o777 == 0o600
    assert module().Stack(stack.folder).secrets == stack.secrets
    known = {
        name: {secret for secret, value in made.items() if any(value in each for each in environment.values())}
        for name in COMPOSE
        for environment in [stack.environment(name)]
    }
    pipeline = {"DAGSTER_DB_PASSWORD", "MLFLOW_PASSWORD"}
    assert known == {
        "postgres": {"POSTGRES_PASSWORD", "DAGSTER_DB_PASSWORD", "MLFLOW_DB_PASSWORD"},
        "s3": {"S3_SECRET_KEY", "S3_INTERNAL_KEY"},
        "mlflow": {"MLFLOW_DB_PASSWORD", "S3_SECRET_KEY", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY"},
        "accounts": {"S3_SECRET_KEY", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_PASSWORD"},
        "code": pipeline,
        "webserver": pipeline,
        "daemon": pipeline,
        "proxy": set(),
    }
    words = " ".join(word for name in COMPOSE for word in stack.command(name))
    assert not any(value in words for value in made.values()), "a password in a command is seen by everybody"


def test_what_supervisord_reads_names_every_service_and_no_secret(stack: Any) -> None:
    stack.lay()
    module().configure(stack)
    text = stack.configuration.read_text(encoding="utf-8")
    assert not any(stack.secrets[name] in text for name in SECRETS)
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    programs = {key.partition(":")[2]: parser[key] for key in parser.sections() if key.startswith("program:")}
    assert {name: shlex.split(section["command"])[-2:] for name, section in programs.items()} == {
        name: ["run", name] for name in COMPOSE
    }
    assert {name for name, section in programs.items() if section["autorestart"] != "true"} == {"accounts"}
    for name, service in COMPOSE.items():
        for volume in service.get("volumes", []):
            assert (stack.root(name) / volume.split(":")[1].lstrip("/")).exists()


def refused(stack: Any, capsys: pytest.CaptureFixture[str]) -> str:
    """What `make stack` says; it starts nothing."""
    script = module()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(script, "install", lambda: None)
        patch.setattr(script.Stack, "states", lambda self: {})
        patch.setattr("sys.argv", ["stack.py", "--folder", str(stack.folder), "up"])
        assert script.main() == 1
    return capsys.readouterr().err


@pytest.mark.parametrize(
    "ports", [{"S3_PORT": "abc"}, {"S3_PORT": "65536"}, {"S3_PORT": "7000", "MLFLOW_PORT": "7000"}]
)
def test_ports_that_cannot_be_are_refused_and_not_kept(
    stack: Any, ports: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, port in ports.items():
        monkeypatch.setenv(name, port)
    before = stack.secrets_file.read_text(encoding="utf-8")
    assert "a port is a number up to 65535, and no two are the same" in refused(stack, capsys)
    assert stack.secrets_file.read_text(encoding="utf-8") == before


def test_a_state_that_does_not_fit_is_named(stack: Any, capsys: pytest.CaptureFixture[str]) -> None:
    file, version = stack.secrets_file, stack.folder / "volumes" / "postgres" / "PG_VERSION"
    file.chmod(0o640)
    assert f"others may read the passwords in {file}" in refused(stack, capsys)
    file.chmod(0o600)
    whole = file.read_text(encoding="utf-8")
    file.write_text(f"{whole}nonsense\n", encoding="utf-8")
    assert f"{file}, line 3: a line is NAME=VALUE" in refused(stack, capsys)
    file.write_text(whole, encoding="utf-8")
    version.write_text("9\n", encoding="utf-8")
    if shutil.which("postgres", path=module().search_path()):
        assert f"{version.parent} is of PostgreSQL 9, and" in refused(stack, capsys)
    file.unlink()
    assert f"{file} is gone" in refused(stack, capsys)
    stack.folder = stack.folder / ("x" * 80)
    assert "is too long for the sockets in it" in refused(stack, capsys)
    stack.folder = file.with_name("a file")
    stack.folder.write_text("", encoding="utf-8")
    assert "a file" in refused(stack, capsys)  # what the system says


def test_the_databases_passwords_are_in_no_command() -> None:
    text = (SCRIPT.parent / "docker" / "databases.sh").read_text(encoding="utf-8")
    assert not re.search(r"\$\{?\w*PASSWORD", text)

"""What a registry runs on, for the tests: PostgreSQL (Debian's), an S3 endpoint (moto) and MLflow on both."""

from __future__ import annotations

import logging
import os
import pwd
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from socketserver import BaseServer
from typing import Any, TypeVar

import psutil
import pytest
import uvicorn

BUCKET = "tracer"
Server = TypeVar("Server", bound=BaseServer)


def free_port() -> int:
    """A port of the loopback interface that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of an ASGI application, which answers in a thread until the end of the block."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@contextmanager
def listening(server: Server) -> Iterator[Server]:
    """A server of the standard library's, which answers in a thread until the end of the block."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def programs() -> Path:
    """The folder of PostgreSQL's server programs; without them the test is skipped."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        pytest.skip("no PostgreSQL: apt-get install postgresql")
    return found[-1].parent


@contextmanager
def postgres(*databases: str) -> Iterator[dict[str, Any]]:
    """A server with these databases: its host, port, user and password."""
    bin = programs()
    password, port = secrets.token_hex(8), free_port()
    # PostgreSQL refuses to run as root, and its user cannot enter pytest's folders.
    person: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
        person = {"user": entry.pw_uid, "group": entry.pw_gid}
    with tempfile.TemporaryDirectory(prefix="tracer-postgres-") as name:
        folder = Path(name)
        (folder / "password").write_text(password, encoding="utf-8")
        if person:
            for path in (folder, folder / "password"):
                os.chown(path, person["user"], person["group"])
        here: dict[str, Any] = {"check": True, "capture_output": True, "cwd": folder, **person}
        data, options = folder / "data", f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
        words = ["--pgdata", data, "--username", "tracer", "--auth", "scram-sha-256", "--pwfile", folder / "password"]
        subprocess.run([bin / "initdb", "--no-sync", *words], **here)
        control = [bin / "pg_ctl", "--pgdata", data, "--wait"]
        subprocess.run([*control, "--log", folder / "log", "--options", options, "start"], **here)
        try:
            environment = {**os.environ, "PGPASSWORD": password}
            for database in databases:
                address = ["--host", "127.0.0.1", "--port", str(port), "--username", "tracer"]
                subprocess.run([bin / "createdb", *address, database], env=environment, **here)
            yield {"host": "127.0.0.1", "port": port, "user": "tracer", "password": password}
        finally:
            subprocess.run([*control, "--mode", "immediate", "stop"], **here)


def crash(at: Mapping[str, Any]) -> None:
    """Kill a server with all its processes, as a power cut does, start it again, and wait until it answers."""
    import psycopg2

    words = ["-p", str(at["port"])]
    every = [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"]]
    (server,) = [each for each in every if " ".join(words) in " ".join(each.info["cmdline"][1:])]
    command, user, folder = server.cmdline(), server.uids().real, server.cwd()
    family = [server, *server.children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family, timeout=30)
    subprocess.Popen(command, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 120
    while True:
        try:
            psycopg2.connect(**at, dbname="postgres").close()
            return
        except psycopg2.OperationalError:
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """An S3 endpoint with an empty bucket: the environment with which boto3, s3fs, DVC and MLflow find it."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # or a line for every request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(8),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}",
        }
        import boto3

        boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_DEFAULT_REGION"],
        ).create_bucket(Bucket=BUCKET)
        yield environment
    finally:
        server.stop()


@contextmanager
def mlflow_server(database: str, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """MLflow's server over a database, its artifacts in the bucket: its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", database, "--artifacts-destination", f"s3://{BUCKET}/mlflow"]
    settings = {**os.environ, **environment, "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # ten processes that nothing here uses
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=settings, stdout=output, stderr=subprocess.STDOUT)
    try:
        answers(f"{address}/health", process, log)
        yield address
    finally:
        family = [process, *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            member.kill()
        process.wait(timeout=30)


def answers(address: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 180) -> None:
    """Wait until an address answers.

    Raises:
        RuntimeError: the process ended, or the time is over; the message is its log.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    raise RuntimeError(log.read_text(encoding="utf-8", errors="replace"))

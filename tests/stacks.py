"""``infra/stack.py``, for the tests: the script as a module, and a stack that runs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from tests.services import BUCKET, free_port

SCRIPT = Path(__file__).parents[1] / "infra" / "stack.py"
SERVERS = ("postgres", "mlflow", "s3", "daemon", "code", "webserver", "proxy")


def module() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("stack", SCRIPT)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@dataclass(frozen=True, slots=True)
class Running:
    """A stack that runs, the pipeline of the folder ``checkout`` in it."""

    stack: Any
    checkout: Path
    environment: Mapping[str, str]

    def do(self, what: str) -> str:
        """``stack.py up`` or ``down``; what it said."""
        command = [sys.executable, str(SCRIPT), what]
        done = subprocess.run(command, cwd=self.checkout, env=self.environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr + self.logs()
        return done.stdout

    def logs(self) -> str:
        """The last lines of every log."""
        return "\n".join(f"{path.name}: {path.read_text(encoding='utf-8', errors='replace')[-1500:]}"
                         for path in self.stack.log.glob("*.log"))  # fmt: skip

    def address(self, port: str) -> str:
        """Where what listens on a port in its container listens here."""
        return f"http://127.0.0.1:{self.stack.ports[port]}"

    def secret(self, name: str) -> str:
        """One of its variables."""
        return str(self.stack.secrets[name])

    def s3(self, key: str = "tracer", secret: str | None = None, **more: Any) -> Any:
        """A client of its S3 server."""
        import boto3

        secret = self.secret("S3_SECRET_KEY") if secret is None else secret
        return boto3.client("s3", endpoint_url=self.address("8333"), region_name="us-east-1", aws_access_key_id=key,
                            aws_secret_access_key=secret, **more)  # fmt: skip

    def processes(self, name: str) -> list[psutil.Process]:
        """What runs of a service, the parents first."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TRACER_STACK") == self.stack.mark(name):
                    found.append(process)
            except psutil.Error:
                continue
        return sorted(found, key=psutil.Process.create_time)

    def pid(self, name: str) -> int:
        """The process that supervisord started last for a service."""
        return int(self.stack.states()[name][2].rstrip(","))

    def kill(self, name: str) -> None:
        """SIGKILL to a service's first process; wait until another has taken its place and answers."""
        before = self.pid(name)
        psutil.Process(before).kill()
        self.until(f"{name} is back", lambda: self.healthy(name) and self.pid(name) != before)

    def healthy(self, name: str) -> bool:
        """Whether a service answers."""
        if name == "s3":
            try:
                self.s3().head_bucket(Bucket=BUCKET)
            except Exception:
                return False
        return bool(module().healthy(self.stack, name))

    def until(self, what: str, done: Callable[[], bool], seconds: float = 600) -> None:
        """Wait for something."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"not in {seconds:.0f} s: {what}\n{self.logs()}"
            time.sleep(1)


@contextmanager
def running(checkout: Path) -> Iterator[Running]:
    """A stack for a checkout, in a folder of its own, on free ports. It ends with the block, and its state with it."""
    script = module()
    with tempfile.TemporaryDirectory(prefix="tracer-stack-") as name:
        Path(name).chmod(0o711)  # PostgreSQL's user passes, which pytest's folders do not let
        stack = script.Stack(Path(name) / "s")
        ports = {each: str(free_port()) for each, default in stack.port_names.items() if default}
        found = Running(stack, checkout, {**os.environ, **ports, "STACK": str(stack.folder)})
        try:
            found.do("up")
            yield found
        finally:
            found.do("down")

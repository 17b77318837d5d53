"""The services of compose.yaml as processes of this machine, without Docker: ``stack.py up|down|status``.

Run it in the checkout. What compose.yaml says of containers is translated: a service's name becomes 127.0.0.1, its
ports become ports here, its volumes folders below ``$STACK`` (``.stack``). Secrets are made at the first start and stay
in ``secrets.env`` there, which its owner alone can read; each process gets what compose.yaml gives its container, and
no more. supervisord starts them, and starts again whatever dies.
"""

from __future__ import annotations

import argparse
import base64
import configparser
import functools
import json
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

INFRA = Path(__file__).parent
COMPOSE = INFRA / "compose.yaml"
POSTGRES = "/usr/lib/postgresql"
DEBIAN = {"postgres": "postgresql", "caddy": "caddy"}
"""Programs, and the Debian packages that bring them."""
PORTS = range(20000, 32000)
"""Those that are not published; above, the kernel lends them to outgoing connections."""
PASSED = ("HOME", "LANG", "OMP_NUM_THREADS", "PYTHONPATH", "PYTHONUNBUFFERED", "TMPDIR", "TZ")
"""What a process has from whoever starts the stack."""
MARK = "TRACER_STACK"
"""The variable by which the processes of a service are found again, also those whose parent was killed."""
NAMES = {"MLFLOW_USER": "tracer", "DAGSTER_USER": "tracer"}
UP_SECONDS = 600.0
LONGEST = 107 - len("/volumes/postgres/.s.PGSQL.20000.lock")
"""Letters of the folder's path: those that a socket's may have, without what is in the folder."""


class StackError(Exception):
    """The stack cannot be started; the message says what to do."""


class Stack:
    """compose.yaml, and the folder in which its services live here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.text = COMPOSE.read_text(encoding="utf-8")
        self.services: dict[str, dict[str, Any]] = yaml.safe_load(self.text)["services"]
        self.secrets_file = folder / "secrets.env"
        self.configuration = folder / "supervisord.conf"
        self.log = folder / "logs"

    @functools.cached_property
    def port_names(self) -> dict[str, str | None]:
        """The variables that name ports, and their defaults; ``PORT_N`` is what is N in a container, unpublished."""
        published = dict(re.findall(r"\$\{(\w+_PORT):-(\d+)\}", self.text))
        exposed = (port for service in self.services.values() for port in service.get("expose", []))
        return {**published, **{f"PORT_{port}": None for port in exposed}}

    @functools.cached_property
    def secrets(self) -> dict[str, str]:
        """The variables of compose.yaml, and the ports; those that are missing are made.

        Raises:
            StackError: the file cannot be read, or others may read it; ports that cannot be.
        """
        before = self.kept()
        found = dict(before)
        for name, default in self.port_names.items():
            found[name] = os.environ.get(name) or found.get(name) or default or str(free_port())
        ports = [found[name] for name in self.port_names]
        for name in self.port_names:
            if (
                not re.fullmatch(r"[1-9]\d{0,4}", found[name])
                or int(found[name]) > 65535
                or ports.count(found[name]) > 1
            ):
                raise StackError(f"{name}={found[name]}: a port is a number up to 65535, and no two are the same")
        for name in re.findall(r"\$\{(\w+):\?", self.text):
            found.setdefault(name, NAMES.get(name) or secrets.token_hex(24))
        found.setdefault("MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY", base64.urlsafe_b64encode(os.urandom(32)).decode())
        if "DAGSTER_PASSWORD" not in found:
            found["DAGSTER_PASSWORD"] = secrets.token_hex(24)
            found["DAGSTER_PASSWORD_HASH"] = hashed(found["DAGSTER_PASSWORD"])
        if found != before:
            new = self.secrets_file.with_suffix(".new")
            new.unlink(missing_ok=True)
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.writelines(f"{name}={value}\n" for name, value in found.items())
            new.replace(self.secrets_file)
        return found

    def kept(self) -> dict[str, str]:
        """What the file of the secrets holds."""
        if not self.secrets_file.exists():
            if (self.folder / "volumes" / "postgres" / "PG_VERSION").exists():
                raise StackError(
                    f"{self.secrets_file} is gone, and what is in {self.folder} was made with its passwords: bring it "
                    f"back, or move the folder away to begin anew"
                )
            return {}
        if self.secrets_file.stat().st_mode & 0o077:
            raise StackError(f"others may read the passwords in {self.secrets_file}: chmod 600 it, if nobody has")
        lines = self.secrets_file.read_text(encoding="utf-8").splitlines()
        if wrong := [number for number, line in enumerate(lines, start=1) if not re.match(r"\w+=", line)]:
            raise StackError(f"{self.secrets_file}, line {wrong[0]}: a line is NAME=VALUE; bring the file back")
        return dict(line.split("=", 1) for line in lines)

    def filled(self, text: str) -> str:
        """A string of compose.yaml with its variables."""
        return re.sub(r"\$\{(\w+)(?::[-?][^}]*)?\}", lambda match: self.secrets[match[1]], text)

    @functools.cached_property
    def ports(self) -> dict[str, str]:
        """The ports here, by those in the containers."""
        found = {}
        for service in self.services.values():
            found.update({port: self.secrets[f"PORT_{port}"] for port in service.get("expose", [])})
            for published in service.get("ports", []):
                _, here, there = self.filled(published).rsplit(":", 2)
                found[there] = here
        return found

    def root(self, name: str) -> Path:
        """What a service has for the root of its container."""
        return self.folder / "services" / name

    def here(self, name: str, text: str) -> str:
        """A word of a service's command, or a value of its environment, as it is on this machine."""
        text = re.sub(rf"\b({'|'.join(self.services)})(?=:\d)", "127.0.0.1", text).replace("0.0.0.0", "127.0.0.1")
        text = re.sub(rf"(?<![\w.])({'|'.join(self.ports)})(?![\w.])", lambda match: self.ports[match[0]], text)
        return self.filled(re.sub(r"(^|=)/(?=\w)", lambda match: f"{match[1]}{self.root(name)}/", text))

    def command(self, name: str, words: list[str] | None = None) -> list[str]:
        """A service's command, or other ``words`` that are run in its container."""
        service = self.services[name]
        return [self.here(name, word) for word in words or [*service.get("entrypoint", []), *service["command"]]]

    def environment(self, name: str) -> dict[str, str]:
        """All that a service's processes have for an environment."""
        found = {}
        for key, value in self.services[name]["environment"].items():
            host = value in self.services and key.endswith("HOST")
            found[key] = "127.0.0.1" if host else self.here(name, value or f"${{{key}}}")
        passed = {key: os.environ[key] for key in PASSED if key in os.environ}
        return passed | found | {"PATH": search_path(), MARK: self.mark(name)}

    def mark(self, name: str) -> str:
        """The mark of a service's processes."""
        return f"{self.folder}:{name}"

    def lay(self) -> None:
        """Make the folders, and in them the files and the volumes that compose.yaml mounts."""
        os.umask(0o022)
        if len(os.fsencode(self.folder)) > LONGEST:
            raise StackError(
                f"{self.folder} is too long for the sockets in it: name another folder, as in STACK=/srv/s"
            )
        for folder in (self.folder, self.folder / "services", self.folder / "volumes"):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)  # PostgreSQL's user passes
        self.log.mkdir(exist_ok=True)
        self.log.chmod(0o700)
        for name, service in self.services.items():
            self.root(name).mkdir(exist_ok=True)
            for volume in service.get("volumes", []):
                source, target = volume.split(":")[:2]
                path = INFRA / source if source.startswith(".") else self.folder / "volumes" / source
                if not path.exists():
                    path.mkdir(mode=0o700)
                link = self.root(name) / target.lstrip("/")
                link.parent.mkdir(parents=True, exist_ok=True)
                link.unlink(missing_ok=True)
                link.symlink_to(path.resolve())

    def end(self, *names: str) -> None:
        """End what is left of services, whoever its parent is."""
        marks = {self.mark(name) for name in names}
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(MARK) in marks:
                    process.kill()
                    left.append(process)
        psutil.wait_procs(left, timeout=30)

    def supervisor(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Ask supervisord."""
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.configuration)]
        return subprocess.run([*command, *words], capture_output=True, encoding="utf-8")

    def states(self) -> dict[str, list[str]]:
        """What supervisord says of each service: its state, and details; nothing if supervisord does not run."""
        lines = [line.split() for line in self.supervisor("status").stdout.splitlines()]
        return {words[0]: words[1:] for words in lines if words and words[0] in self.services}


def hashed(password: str) -> str:
    """What Caddy compares a password with."""
    command = [shutil.which("caddy", path=search_path()) or "caddy", "hash-password"]
    done = subprocess.run(command, input=f"{password}\n", capture_output=True, encoding="utf-8")
    if done.returncode:
        raise StackError(f"caddy hash-password: {done.stderr}")
    return done.stdout.strip()


def free_port() -> int:
    """A port that nobody listens on."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", port))
            return port


def search_path() -> str:
    """Where programs are looked for: this Python's environment, PostgreSQL's newest server, the system."""
    found = sorted(Path(POSTGRES).glob("*/bin"), key=lambda path: float(path.parts[-2]))
    return os.pathsep.join(map(str, [Path(sys.executable).parent, *found[-1:], "/usr/local/bin", "/usr/bin", "/bin"]))


def install() -> None:
    """Debian's packages, as root; otherwise say which are missing."""
    missing = [package for program, package in DEBIAN.items() if not shutil.which(program, path=search_path())]
    if not missing:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise StackError(f"missing: {', '.join(missing)}. On Debian: sudo apt-get install {' '.join(missing)}")
    print("installing", *missing, "(apt-get)", flush=True)
    quiet: dict[str, Any] = {"capture_output": True, "encoding": "utf-8"}
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
        done = subprocess.run(["apt-get", "-qq", *words], env=environment, **quiet)
        if done.returncode:
            raise StackError(f"apt-get {' '.join(words)} failed:\n{done.stderr}")
    if Path("/run/systemd/system").exists():  # each package has started a server of its own
        subprocess.run(["systemctl", "disable", "--now", *missing], **quiet)


# supervisord


def configure(stack: Stack) -> None:
    """Write supervisord's configuration. It holds no secrets: ``run`` fetches them."""
    here = f"unix://{stack.folder}/supervisor.sock"
    found: dict[str, dict[str, Any]] = {
        "supervisord": {"logfile": stack.log / "supervisord.log", "pidfile": stack.folder / "supervisord.pid",
                        "umask": "077", "directory": Path.cwd()},
        "unix_http_server": {"file": here.removeprefix("unix://"), "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
        "supervisorctl": {"serverurl": here},
    }  # fmt: skip
    if os.geteuid() == 0:
        found["supervisord"]["user"] = "root"  # or it warns that nobody said so
    for name, service in stack.services.items():
        once = service["restart"] == "on-failure"
        words = [sys.executable, Path(__file__).resolve(), "--folder", stack.folder, "run", name]
        found[f"program:{name}"] = {
            "command": " ".join(f'"{word}"' for word in words),
            "autorestart": "unexpected" if once else "true",
            "exitcodes": 0,
            "startsecs": 0 if once else 1,
            "startretries": 10**6,
            "stopsignal": service.get("stop_signal", "SIGTERM").removeprefix("SIG"),
            "stopwaitsecs": 20,
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": stack.log / f"{name}.log",
            "stdout_logfile_maxbytes": "10MB",
            "stdout_logfile_backups": 2,
        }
    parser = configparser.RawConfigParser()
    parser.read_dict({key: {name: str(value).replace("%", "%%") for name, value in section.items()}
                      for key, section in found.items()})  # fmt: skip
    with stack.configuration.open("w", encoding="utf-8") as file:
        parser.write(file)


def run(stack: Stack, name: str) -> None:
    """Become a service: what supervisord starts."""
    stack.end(name)
    command, environment = stack.command(name), stack.environment(name)
    if name == "postgres":
        become_postgres(Path(environment["PGDATA"]).resolve())
        found_database(stack, environment)
        command += ["-k", environment["PGDATA"]]
    os.execvpe(command[0], command, environment)


def become_postgres(data: Path) -> None:
    """PostgreSQL refuses to run as root.

    Raises:
        StackError: its user cannot enter the folder of the data.
    """
    if os.geteuid() != 0:
        return
    person = pwd.getpwnam("postgres")
    os.chown(data, person.pw_uid, person.pw_gid)
    os.setgroups([])
    os.setgid(person.pw_gid)
    os.setuid(person.pw_uid)
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
        raise StackError(f"the user postgres cannot enter {data}; name another folder: STACK=/var/lib/tracer-stack")
    os.chdir(data)


def found_database(stack: Stack, environment: dict[str, str]) -> None:
    """In an empty volume: a new cluster with the databases, as the image's entrypoint makes it."""
    data = Path(environment["PGDATA"])
    if (data / "PG_VERSION").exists() and not (data / "founding").exists():
        return
    for left in data.iterdir():  # of an attempt that was killed
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    words = {"check": True, "env": environment | {"PGHOST": str(data), "PGPASSWORD": environment["POSTGRES_PASSWORD"]}}
    new, port = data / "founding", stack.ports["5432"]
    new.mkdir()
    (new / "password").write_text(environment["POSTGRES_PASSWORD"], encoding="utf-8")
    options = ["--username", "postgres", "--auth", "scram-sha-256", "--pwfile", str(new / "password")]
    subprocess.run(["initdb", "--pgdata", str(new / "data"), "--encoding", "UTF8", "--no-locale", *options], **words)
    server = ["pg_ctl", "--pgdata", str(new / "data"), "--wait"]
    subprocess.run([*server, "--options", f"-p {port} -k {data} -c listen_addresses=", "start"], **words)
    words["env"]["PGPORT"] = port
    subprocess.run([str(INFRA / "docker" / "databases.sh")], **words)
    subprocess.run([*server, "--mode", "fast", "stop"], **words)
    for each in (new / "data").iterdir():
        each.rename(data / each.name)
    shutil.rmtree(new)


# Commands


def up(stack: Stack) -> None:
    """Start what does not run, and wait until all of it answers.

    Raises:
        StackError: something does not answer in time; its log is named.
    """
    install()
    stack.lay()
    running = bool(stack.states())
    if running:
        for name in stack.port_names:
            os.environ.pop(name, None)  # it keeps its ports
    configure(stack)
    if running:
        stack.supervisor("update")  # compose.yaml may have changed
        stack.supervisor("start", "all")
    else:
        stack.end(*stack.services)
        for name in stack.port_names:
            if listens(int(stack.secrets[name])):
                raise StackError(f"port {stack.secrets[name]} is taken; choose another, as in {name}=12345")
        fits(stack)
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", stack.configuration]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        if done.returncode:
            raise StackError(f"supervisord does not start: {done.stderr or done.stdout}")
    wait(stack)
    print(f"Dagster  http://127.0.0.1:{stack.ports['3000']}   DAGSTER_USER, DAGSTER_PASSWORD")
    print(f"MLflow   http://127.0.0.1:{stack.ports['5000']}   MLFLOW_USER, MLFLOW_PASSWORD")
    print(f"S3       http://127.0.0.1:{stack.ports['8333']}   tracer, S3_SECRET_KEY")
    print(f"These names are in {stack.secrets_file}; logs are in {stack.log}. `make stack-down` stops all of it.")


def fits(stack: Stack) -> None:
    """Raise ``StackError`` if the database was made by another version of PostgreSQL than the one that would run."""
    file, server = stack.folder / "volumes" / "postgres" / "PG_VERSION", shutil.which("postgres", path=search_path())
    if not file.exists() or server is None:
        return
    made = file.read_text(encoding="utf-8").strip()
    words = subprocess.run([server, "--version"], capture_output=True, encoding="utf-8").stdout.split()
    if words[2].partition(".")[0] != made:
        raise StackError(
            f"{file.parent} is of PostgreSQL {made}, and {words[2]} is installed: pg_upgrade converts it, or move "
            f"{stack.folder} away to begin anew"
        )


def listens(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as knock:
        return knock.connect_ex(("127.0.0.1", port)) == 0


def wait(stack: Stack) -> None:
    """Wait until every service is up: by its health check, where compose.yaml has one."""
    end = time.monotonic() + UP_SECONDS
    for name in stack.services:
        if not healthy(stack, name):
            print(f"waiting for {name}", flush=True)
        while not healthy(stack, name):
            if time.monotonic() > end:
                raise StackError(f"{name} does not answer; see {stack.log / name}.log")
            time.sleep(0.5)


def healthy(stack: Stack, name: str) -> bool:
    """Whether a service answers; one that runs once, whether it is done; the proxy, whether it asks for a login."""
    service, state = stack.services[name], (stack.states().get(name) or [""])[0]
    if service["restart"] == "on-failure":
        return state == "EXITED"
    if state != "RUNNING":
        return False
    if "healthcheck" in service:
        check = stack.command(name, service["healthcheck"]["test"][1:])
        environment = stack.environment(name) | {MARK: ""}
        return subprocess.run(check, env=environment, capture_output=True).returncode == 0
    if name == "proxy":
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['3000']}/", timeout=10).close()
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        raise StackError("the proxy asks for no login")
    return True


def down(stack: Stack) -> None:
    """Stop everything; the state stays."""
    pid = stack.folder / "supervisord.pid"
    found = [psutil.Process(int(pid.read_text()))] if stack.states() else []
    stack.supervisor("shutdown")
    psutil.wait_procs(found, timeout=120)
    stack.end(*stack.services)


def main() -> int:
    """The exit code: 1 if something is missing or does not answer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("STACK") or ".stack"))
    parser.add_argument("what", choices=("up", "down", "status", "run"))
    parser.add_argument("name", nargs="?")
    arguments = parser.parse_args()
    stack = Stack(arguments.folder.resolve())
    if not (arguments.name in stack.services if arguments.what == "run" else arguments.name is None):
        parser.error("`run`, and nothing else, takes the name of a service")
    try:
        if arguments.what == "run":
            run(stack, arguments.name)
        elif arguments.what == "status":
            print(json.dumps({name: words[0] for name, words in stack.states().items()}))
        else:
            {"up": up, "down": down}[arguments.what](stack)
    except (StackError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

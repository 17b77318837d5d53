"""A jail for Python that nobody has read: bubblewrap, with limits on all that a program can take.

It sees a root that is read-only, one empty folder to write in, no network, no environment, and no process but its own.
What goes beyond a limit is ended with all that it started. Where nothing can be isolated, nothing is run.
"""

from __future__ import annotations

import contextlib
import os
import platform
import selectors
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from tracer.settings import ConfigError

SCRATCH = "/scratch"
GIVEN = "/given"
"""Where a program finds the files that it was given."""
NOBODY = 65_534
"""Who root becomes first: the kernel does not limit the number of root's processes."""
POLL = 0.1  # seconds between two looks at what the program takes
MEGABYTE = 2**20
MISSING = (
    "Python that nobody has read runs only in bubblewrap: install it (`apt-get install bubblewrap`), or leave the "
    "executors `python` and `read_file` out of grounding.executors"
)
# What the program starts as: it takes away what it could take too much of, and becomes Python with the code.
BOOT = """
import os, resource, sys
for name, most in zip(sys.argv[1::2], sys.argv[2::2]):
    resource.setrlimit(getattr(resource, name), (int(most), int(most)))
with open("main.py", "wb") as file:
    file.write(sys.stdin.buffer.read())
os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
os.execv(sys.executable, [sys.executable, "-I", "-B", "-u", "main.py"])
"""
# System calls that reach memory that no limit counts, the kernel's keys, other processes, or new powers, by machine.
REFUSED = {
    "x86_64": (
        0xC000003E,
        # shmget, ptrace, syslog, mount, add_key, request_key, keyctl, unshare, setns, perf_event_open, memfd_create,
        # bpf, userfaultfd, io_uring_setup, memfd_secret
        (29, 101, 103, 165, 248, 249, 250, 272, 308, 298, 319, 321, 323, 425, 447),
    ),
    "aarch64": (0xC00000B7, (194, 117, 116, 40, 217, 218, 219, 97, 268, 241, 279, 280, 282, 425, 447)),
}
ALLOW, KILL, DENY = 0x7FFF0000, 0x80000000, 0x00050001  # DENY: the call fails with EPERM


class JailError(ConfigError):
    """Nothing can be isolated here; the message says why, and what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may take."""

    seconds: int = 10
    """Of computing, of each of its processes: on a busy machine it takes longer."""
    wall: float = 60.0
    """Seconds on the clock."""
    memory: int = 256 * MEGABYTE
    """Bytes, of all its processes."""
    processes: int = 16
    output: int = 64 * 1024
    """Bytes that it may print."""
    scratch: int = 32 * MEGABYTE
    """Bytes that its folder holds, and so a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended."""

    output: str
    code: int
    stopped: str = ""
    """Which limit ended it; empty where it ended by itself."""


def run(code: str, limits: Limits | None = None, given: Mapping[str, bytes] | None = None) -> Ended:
    """Run a Python program in the jail, which can read the files ``given`` in ``GIVEN``. Raises ``JailError``."""
    return _run(code, limits or Limits(), python(), given or {})


@cache
def python() -> Path:
    """The Python that runs inside: this one, or the system's where nobody but root reads it; raises ``JailError``."""
    if shutil.which("bwrap") is None:
        raise JailError(MISSING)
    if platform.machine() not in REFUSED:
        raise JailError(f"no system calls are listed for {platform.machine()}; {MISSING}")
    ended = Ended(output="", code=1)
    for found in (Path(sys.base_prefix) / "bin" / "python3", Path("/usr/bin/python3")):
        ended = _run("print(6 * 7)", Limits(), found, {}) if found.exists() else ended
        if ended.output == "42\n":
            return found
    raise JailError(
        f"bubblewrap isolates nothing here: {ended.output.strip() or ended.stopped}; allow user namespaces (the sysctl "
        f"kernel.unprivileged_userns_clone, or the container's seccomp profile), or leave `python` and `read_file` out"
    )


def _run(code: str, limits: Limits, inside: Path, given: Mapping[str, bytes]) -> Ended:
    as_root = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    with contextlib.ExitStack() as open_files:
        program, rules, *held = (
            open_files.enter_context(_held(content))
            for content in (code.encode("utf-8", "backslashreplace"), filter_program(), *given.values())
        )
        # Handed over open: who the jail runs as need not be able to read them, or to find them.
        files = [
            word
            for fd, name in zip(held, given, strict=True)
            for word in ("--ro-bind-data", str(fd), f"{GIVEN}/{name}")
        ]
        process = subprocess.Popen(
            [*_arguments(limits, inside, rules, files), str(inside), "-I", "-c", BOOT, *_limits(limits)],
            stdin=program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=[rules, *held], cwd="/",
            env={},  # bubblewrap's own process is seen inside, with what it was started with
            **as_root,  # type: ignore[call-overload]
        )  # fmt: skip
        try:
            output, stopped = _watch(process, limits)
        finally:
            process.kill()  # and with it all that it started (--die-with-parent, in a namespace of processes)
            process.wait()
            process.stdout.close()
    return Ended(output=output.decode("utf-8", "replace"), code=process.returncode, stopped=stopped)


@contextlib.contextmanager
def _held(content: bytes) -> Iterator[int]:
    """The descriptor of a file without a name, which has the content."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file.fileno()


def _watch(process: subprocess.Popen[bytes], limits: Limits) -> tuple[bytes, str]:
    """What the program prints until it ends, and the limit that it went beyond."""
    output, deadline = bytearray(), time.monotonic() + limits.wall
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if selector.select(POLL):
                read = os.read(process.stdout.fileno(), 65_536)
                output += read
                if not read:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.0, deadline - time.monotonic()))
                        return bytes(output), ""
                    break
                if len(output) > limits.output:
                    return bytes(output[: limits.output]), f"it printed over {limits.output} bytes"
            if sum(_resident(process.pid)) > limits.memory:
                return bytes(output), f"it took over {limits.memory} bytes of memory"
    return bytes(output), f"it took over {limits.wall:g} seconds"


def _resident(pid: int) -> Iterator[int]:
    """The memory of every process under ``pid``, in bytes."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                yield each.memory_info().rss


def _arguments(limits: Limits, inside: Path, rules: int, files: list[str]) -> list[str]:
    """bubblewrap's arguments."""
    prefix = inside.parent.parent
    roots = [] if prefix.is_relative_to("/usr") else ["--ro-bind", str(prefix), str(prefix)]
    for folder in (Path("/bin"), Path("/lib"), Path("/lib64")):  # links into /usr on most systems
        if folder.is_symlink():
            roots += ["--symlink", str(folder.readlink()), str(folder)]
        elif folder.is_dir():
            roots += ["--ro-bind", str(folder), str(folder)]
    return [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session",
        "--cap-drop", "ALL", "--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "jail", "--clearenv",
        "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", SCRATCH, "--setenv", "LANG", "C.UTF-8",
        "--ro-bind", "/usr", "/usr", *roots, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
        "--proc", "/proc", "--dev", "/dev", "--size", str(limits.scratch), "--tmpfs", SCRATCH, "--chdir", SCRATCH,
        *files, "--remount-ro", "/dev", "--remount-ro", "/", "--seccomp", str(rules), "--",
    ]  # fmt: skip


def _limits(limits: Limits) -> list[str]:
    """Names and values for ``setrlimit``: what one process may take."""
    most = {
        "RLIMIT_AS": limits.memory, "RLIMIT_NPROC": limits.processes, "RLIMIT_FSIZE": limits.scratch,
        "RLIMIT_NOFILE": 64, "RLIMIT_CORE": 0, "RLIMIT_MSGQUEUE": 0, "RLIMIT_MEMLOCK": 0,
        "RLIMIT_CPU": limits.seconds,
    }  # fmt: skip
    return [str(word) for pair in most.items() for word in pair]


def filter_program() -> bytes:
    """The seccomp filter of this machine, as BPF: instructions of (code, jump if true, jump if false, operand)."""
    machine, numbers = REFUSED[platform.machine()]
    last = len(numbers) + 1
    program = [
        (0x20, 0, 0, 4),  # which machine's system call it is
        (0x15, 1, 0, machine),
        (0x06, 0, 0, KILL),
        (0x20, 0, 0, 0),  # its number
        (0x35, last, 0, 0x40000000),  # x32's numbers, which would be others
        *((0x15, last - 1 - index, 0, number) for index, number in enumerate(numbers)),
        (0x06, 0, 0, ALLOW),
        (0x06, 0, 0, DENY),
    ]
    return b"".join(struct.pack("=HBBI", *each) for each in program)

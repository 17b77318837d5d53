"""What nobody has read runs in the jail, and nothing of it comes out: one test for each way that was tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tracer.tools import jail
from tracer.tools.jail import JailError, Limits, run

SMALL = Limits(seconds=5, wall=60, memory=128 * jail.MEGABYTE, processes=8, output=10_000, scratch=4 * jail.MEGABYTE)


@pytest.fixture(scope="module", autouse=True)
def isolated() -> None:
    try:
        jail.python()
    except JailError as error:
        pytest.skip(str(error))


def tried(body: str) -> str:
    """A program that says whether what it tried worked."""
    lines = "\n    ".join(body.strip().splitlines())
    return (
        f"import os, sys, ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\ntry:\n    {lines}\n    print('ESCAPED')\n"
        + ("except BaseException as error:\n    print('stopped', type(error).__name__, error)\n")
    )


CHECK = "assert {0} >= 0, os.strerror(ctypes.get_errno())"
MARK = "/var/tmp/tracer-escape"
# Each is what a program would do; outside the jail those of HARMLESS work, so that each of them can fail inside.
REACHING = {
    "network": "import socket\nsocket.create_connection(('1.1.1.1', 53), 2)",
    "network of this machine": "import socket\nsocket.create_connection(('127.0.0.1', int(PORT)), 2)",
    "names": "import socket\nassert socket.getaddrinfo('example.com', 80)",
    "another network interface": "import socket\nassert [name for _, name in socket.if_nameindex() if name != 'lo']",
    "raw socket": "import socket\nsocket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "abstract socket of the host": "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0tracer-jail')",
    "write outside": f"open('{MARK}', 'w').write('x')",
    "write into the root": "open('/new', 'w').write('x')",
    "write into /usr": "open('/usr/bin/new', 'w').write('x')",
    "write into /dev": "open('/dev/new', 'w').write('x')",
    "write into /dev/shm": "open('/dev/shm/new', 'w').write('x')",
    "write into /tmp": "open('/tmp/new', 'w').write('x')",
    "symlink out of the folder": f"os.symlink('{MARK}', 'link')\nopen('link', 'w').write('x')",
    "symlink to the host's passwords": "os.symlink('/etc/shadow', 'link')\nopen('link').read()",
    "climb out of the folder": f"open('../..{MARK}', 'w').write('x')",
    "hard link": "os.link('/usr/bin/env', 'env')\nopen('env', 'r+b').write(b'x')",
    "the home folder": "assert os.listdir('/root') or os.listdir('/home')",
    "the project": "assert os.path.exists(PROJECT)",
    "the host's settings": "open('/etc/passwd').read()",
    "devices of the host": "assert [n for n in os.listdir('/dev') if n.startswith(('sd', 'vd', 'nvme', 'mem'))]",
    "make a device": "import stat\nos.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(8, 0))",
    "environment": "assert 'TRACER_SECRET' in os.environ",
    "environment of the parent": "assert b'TRACER_SECRET' in open(f'/proc/{os.getppid()}/environ', 'rb').read()",
    "environment of every process": "import glob\nassert any(len(open(each, 'rb').read()) > 200 for each in "
    "glob.glob('/proc/[0-9]*/environ'))",
    "arguments of the first process": "assert PROJECT.encode() in open('/proc/1/cmdline', 'rb').read()",
    "open files of the parent": "assert [fd for fd in os.listdir('/proc/self/fd') if int(fd) > 3]",
    "processes of the host": "assert [pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) > 50]",
    "signal to the parent": "os.kill(int(PARENT), 0)",
    "signal to everyone of the host": "os.kill(int(PARENT), 9)",
    "memory of the parent": "open(f'/proc/{PARENT}/mem', 'rb')",
    "ptrace": CHECK.format("libc.ptrace(16, 1, 0, 0)"),
    "root of another process": "assert os.path.exists('/proc/1/root/etc/passwd')",
    "setuid": "os.setuid(0)",
    "setuid program": "import subprocess\nassert subprocess.run(['su', '-c', 'id'], stdin=-3).returncode == 0",
    "setgroups": "os.setgroups([0])",
    "capabilities": "assert 'CapEff:\\t0000000000000000' not in open('/proc/self/status').read()",
    "new privileges": "assert 'NoNewPrivs:\\t1' not in open('/proc/self/status').read()",
    "user namespace": CHECK.format("libc.unshare(0x10000000)"),
    "user namespace by clone": CHECK.format("libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0)"),
    "mount": CHECK.format("libc.mount(b'none', b'/scratch', b'tmpfs', 0, 0)"),
    "remount the root": CHECK.format("libc.mount(b'none', b'/', b'', 32, 0)"),
    "chroot": "os.mkdir('d')\nos.chroot('d')",
    "name of the host": CHECK.format("libc.sethostname(b'mine', 4)"),
    "clock": "import time\ntime.clock_settime(time.CLOCK_REALTIME, 0)",
    "settings of the kernel": "open('/proc/sys/kernel/hostname', 'w').write('mine')",
    "kernel's messages": CHECK.format("libc.klogctl(3, ctypes.create_string_buffer(99), 99)"),
    "kernel's keys": CHECK.format("libc.syscall(250, 0, -3, 0)"),
    "bpf": CHECK.format("libc.syscall(321, 0, 0, 0)"),
    "io_uring": CHECK.format("libc.syscall(425, 8, ctypes.create_string_buffer(120))"),
    "numbers of x32": CHECK.format("libc.syscall(0x40000000 + 39)"),
    "memory that no limit counts": CHECK.format("libc.syscall(319, b'x', 0)"),
    "shared memory of System V": CHECK.format("libc.shmget(0, 4096, 0o1600)"),
    "raise a limit": "import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (999, 999))",
    "terminal": "import fcntl, termios\nfcntl.ioctl(os.open('/dev/tty', os.O_RDWR), termios.TIOCSTI, b'x')",
}
HARMLESS = ("environment", "the host's settings", "processes of the host", "signal to the parent", "write into /tmp",
            "memory that no limit counts", "shared memory of System V", "new privileges", "the project")  # fmt: skip


@pytest.fixture(scope="module")
def server() -> object:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found, socket.socket(socket.AF_UNIX) as hidden:
        hidden.bind("\0tracer-jail")
        hidden.listen()
        yield found.getsockname()[1]


def program(name: str, port: object) -> str:
    known = f"PORT, PARENT, PROJECT = '{port}', '{os.getpid()}', {str(Path(jail.__file__).parents[2])!r}\n"
    return known + tried(REACHING[name])


@pytest.mark.parametrize("name", REACHING)
def test_nothing_outside_is_reached(name: str, server: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_SECRET", "1")
    ended = run(program(name, server), SMALL)
    # A program that the kernel ended says nothing; one that was refused says why.
    assert "ESCAPED" not in ended.output and ("stopped" in ended.output or ended.code), ended
    assert not Path(MARK).exists()
    assert psutil.pid_exists(os.getpid())


@pytest.mark.parametrize("name", HARMLESS)
def test_outside_the_jail_it_works(name: str, server: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACER_SECRET", "1")
    code = program(name, server)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    Path("/tmp/new").unlink(missing_ok=True)
    assert done.stdout == "ESCAPED\n", done


SLEEP = "import time\ntime.sleep(99)"
DEAF = "import signal\nfor each in set(signal.Signals) - {9, 19}: signal.signal(each, signal.SIG_IGN)\n"
TAKING = {
    "endless": ("while True: pass", "code 137"),
    "asleep": (SLEEP, "seconds"),
    "deaf to signals": (DEAF + SLEEP, "seconds"),
    "a child that stays": (f"import os\nif not os.fork(): os.setsid()\n{SLEEP}", "seconds"),
    "endless output": ("while True: print('x' * 1000)", "printed over"),
    "endless errors": ("import sys\nwhile True: print('x' * 1000, file=sys.stderr)", "printed over"),
    "memory of many": (f"import os\nfor i in range(2): os.fork()\nx = b'x' * 60_000_000\n{SLEEP}", "memory"),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if end == "seconds" else ()) for name, (_, end) in TAKING.items()],
)
def test_what_takes_too_much_is_ended_with_all_that_it_started(name: str) -> None:
    code, limit = TAKING[name]
    wall = 4 if limit == "seconds" else 60
    ended = run(code, Limits(seconds=1, wall=wall, memory=128 * jail.MEGABYTE, output=10_000))
    assert limit in (ended.stopped or f"code {ended.code}"), ended
    assert len(ended.output) <= 10_000
    assert not _left()


FORKS = """
import os, time
for count in range(99):
    try:
        child = os.fork()
    except OSError:
        print("refused after", count)
        raise SystemExit(1)
    if not child:
        time.sleep(2)
        os._exit(0)
"""


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("x = bytearray(10**9)", "MemoryError"),
        (FORKS, "refused after"),
        (f"import threading\n{SLEEP.replace('99', '0')}\nfor _ in range(99):\n    threading.Thread(target=time.sleep, "
         "args=(9,), daemon=True).start()", "can't start new thread"),
        ("open('big', 'wb').write(bytes(10**7))", "No space left on device"),
        ("for i in range(9): open(str(i), 'wb').write(bytes(10**6))", "No space left on device"),
        ("found = [open('/dev/null') for _ in range(999)]", "Too many open files"),
        ("import os\nos.truncate(os.open('f', 65), 10**12)", "File too large"),
        ("import os\nos.abort()", ""),
    ],
    ids=["memory", "fork bomb", "threads", "big file", "many files", "open files", "sparse file", "core"],
)  # fmt: skip
def test_what_asks_for_too_much_is_refused(code: str, says: str) -> None:
    ended = run(code, SMALL)
    assert says in ended.output and ended.code, ended
    assert not _left() and not list(Path("/").glob("core*"))


def _left() -> list[psutil.Process]:
    """Processes of jails that are still there, after a moment for the kernel."""
    for _ in range(50):
        found = [each for each in psutil.Process().children(recursive=True) if each.name() in ("bwrap", "python3")]
        if not found:
            return []
        time.sleep(0.1)
    return found


def test_a_program_that_does_nothing_wrong_runs() -> None:
    code = "import json, math\nopen('a', 'w').write('ä')\nprint(json.dumps([math.comb(5, 2), open('a').read()]))"
    assert run(code) == jail.Ended(output='[10, "\\u00e4"]\n', code=0)
    assert run("raise SystemExit(3)").code == 3
    assert (
        run("open('b', 'w')\nimport os\nprint(sorted(os.listdir()))").output == "['b', 'main.py']\n"
    )  # nothing is kept


def test_a_program_reads_the_files_that_it_is_given_and_changes_none() -> None:
    given = {"a": bytes(range(256)), "b.zip": b""}
    assert run("import os\nprint(sorted(os.listdir('/given')), sum(open('/given/a', 'rb').read()))", given=given) == (
        jail.Ended(output="['a', 'b.zip'] 32640\n", code=0)
    )
    for change in (
        "open('/given/a', 'w')",
        "os.chmod('/given/a', 0o777)",
        "os.remove('/given/a')",
        "open('/given/c', 'w')",
    ):
        assert "stopped" in run(tried(change), given=given).output


def test_without_bubblewrap_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    jail.python.cache_clear()
    try:
        monkeypatch.setattr(shutil, "which", lambda name: None)
        with pytest.raises(JailError, match=r"runs only in bubblewrap: install it \(`apt-get install bubblewrap`\)"):
            run("print(1)")
        monkeypatch.setattr(shutil, "which", lambda name: name)
        monkeypatch.setattr(jail, "_run", lambda *given: jail.Ended(output="No permissions to create", code=1))
        with pytest.raises(JailError, match="isolates nothing here: No permissions to create; allow user namespaces"):
            run("print(1)")
    finally:
        jail.python.cache_clear()

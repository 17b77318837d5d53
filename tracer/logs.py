"""The log: lines for people, or with ``TRACER_LOG=json`` a JSON object a line, for who collects them."""

from __future__ import annotations

import atexit
import io
import json
import logging
import os
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

SETTING = "TRACER_LOG"
RUN = "TRACER_RUN_ID"
"""Whose lines they are: Dagster's id of the run, else one that a command makes up and gives to what it starts."""
log = logging.getLogger(__name__)
LOGIN = re.compile(r"://[^\s/@]+@")
"""The user and the password in a URL."""
_about = {"step": "", "digest": ""}


def as_json() -> bool:
    """Whether the environment asks for JSON."""
    return os.environ.get(SETTING) == "json"


class Json(logging.Formatter):
    """A record as a JSON object: time, level, logger, message, run id, step, digest, and the error if there is one."""

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """What it says, besides the error."""
        return {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "run": os.environ.get(RUN, ""),
            **_about,
        }

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        error = {"error": self.formatException(record.exc_info)} if record.exc_info else {}
        return json.dumps({**self.fields(record), **error})


class Printed(io.TextIOBase):
    """A standard error stream whose lines become records: what libraries print there, progress and tracebacks."""

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream, self._rest = stream, ""

    def write(self, text: str) -> int:
        """Log the lines that are whole."""
        *lines, self._rest = (self._rest + text).replace("\r", "\n").split("\n")
        for line in filter(str.strip, lines):
            log.info("%s", line)
        return len(text)

    def fileno(self) -> int:
        """That of the stream behind it, for processes that are started with it."""
        return self._stream.fileno()


TERSE = ("httpx", "httpx2", "mcp")
"""Libraries whose every request is no line of the log, with its address, and whose faults are raised as well."""


def begin() -> None:
    """Set up the log of this process, once."""
    for name in TERSE:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    if not as_json():
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
        return
    os.environ.setdefault(RUN, uuid.uuid4().hex)
    if isinstance(sys.stderr, Printed):
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a log that cannot be written would be told to the stream that it comes from
    sys.stderr = Printed(sys.stderr)  # type: ignore[arg-type]
    atexit.register(sys.stderr.write, "\n")  # a last line that has no end
    sys.excepthook = lambda *error: log.critical("ended by a bug", exc_info=error)


def complain(text: str) -> None:
    """Tell the user what went wrong: on the standard error stream, or as an error of the log. No passwords of URLs."""
    text = LOGIN.sub("://", text)
    if as_json():
        log.error("%s", text)
    else:
        print(text, file=sys.stderr)


@contextmanager
def about(step: str, digest: str) -> Iterator[None]:
    """Lines that are logged meanwhile name the step that runs and its digest."""
    before = dict(_about)
    _about.update(step=step, digest=digest[:12])
    try:
        yield
    finally:
        _about.update(before)

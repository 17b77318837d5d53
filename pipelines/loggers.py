"""What a terminal shows of a run: one line per message, without Dagster's ids."""

import logging
import sys

import dagster as dg


@dg.logger
def brief(context: dg.InitLoggerContext) -> logging.Logger:
    """One line per message of the assets: the step and the text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Brief())
    made = logging.Logger("brief", level=logging.INFO)
    made.addHandler(handler)
    return made


class Brief(logging.Formatter):
    """Formats a message without Dagster's ids."""

    def format(self, record: logging.LogRecord) -> str:
        """The step and the message."""
        meta = getattr(record, "dagster_meta", None) or {}
        step = meta.get("step_key") if isinstance(meta, dict) else None
        message = meta.get("orig_message") if isinstance(meta, dict) else None
        return f"{step or 'run'}: {message or record.getMessage()}"

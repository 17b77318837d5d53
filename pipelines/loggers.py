"""What a terminal shows of a run: one line per message, without Dagster's ids."""

import logging
import sys

import dagster as dg

from tracer import logs


@dg.logger
def brief(context: dg.InitLoggerContext) -> logging.Logger:
    """One line per message of the assets: the step and the text."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(BriefJson() if logs.as_json() else Brief())
    made = logging.Logger("brief", level=logging.INFO)
    made.addHandler(handler)
    return made


def told(record: logging.LogRecord) -> tuple[str, str, str]:
    """The step, the message and the run of one of Dagster's records."""
    meta = getattr(record, "dagster_meta", None)
    meta = meta if isinstance(meta, dict) else {}
    return meta.get("step_key") or "", meta.get("orig_message") or record.getMessage(), meta.get("run_id") or ""


class BriefJson(logs.Json):
    """The same as JSON."""

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """With Dagster's run and step."""
        step, message, run = told(record)
        fields = super().fields(record)
        return {**fields, "message": message, "run": run or fields["run"], "step": step or fields["step"]}


class Brief(logging.Formatter):
    """Formats a message without Dagster's ids."""

    def format(self, record: logging.LogRecord) -> str:
        """The step and the message."""
        step, message, _ = told(record)
        return f"{step or 'run'}: {message}"

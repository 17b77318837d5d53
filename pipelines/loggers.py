"""What a terminal shows of a run: one line per message, without Dagster's ids; or JSON with them (``tracer.logs``)."""

import logging
import sys

import dagster as dg

from tracer import logs


@dg.logger
def brief(context: dg.InitLoggerContext) -> logging.Logger:
    """One line per message of the assets: the step and the text."""
    handler = logging.StreamHandler(sys.__stderr__ if logs.as_json() else sys.stderr)
    handler.setFormatter(Brief())
    made = logging.Logger("brief", level=logging.INFO)
    made.addHandler(handler)
    return made


class Brief(logs.Json):
    """Formats a message of Dagster's."""

    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """With the step and the run that it is about."""
        fields, meta = super().fields(record), getattr(record, "dagster_meta", None)
        meta = meta if isinstance(meta, dict) else {}
        known = {"message": "orig_message", "run": "run_id", "step": "step_key"}
        return {**fields, **{name: meta.get(key) or fields[name] for name, key in known.items()}}

    def format(self, record: logging.LogRecord) -> str:
        """The step and the message."""
        if logs.as_json():
            return super().format(record)
        fields = self.fields(record)
        return f"{fields['step'] or 'run'}: {fields['message']}"

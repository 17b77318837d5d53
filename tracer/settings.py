"""What every section of the configuration is: frozen, and strict about its keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """What was asked for names or sets something that cannot be: the command's exit code is 2.

    An unknown profile, setting, option, planner, protocol or version, a value that is refused, a file that is not
    there, or a command that comes too early. The message names it, and the fix.
    """


def faults(error: Exception, between: str = "; ") -> str:
    """What an error says; of a validation each fault with its place, without the value: a secret, or megabytes."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_input=False, include_url=False)
    return between.join(": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in found)


class Section(BaseModel):
    """A part of params.yaml, or of another file of ours; an unknown key is an error, and so is an infinite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

"""What every section of the configuration is: frozen, and strict about its keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ConfigError(ValueError):
    """What was asked for names or sets something that cannot be: the command's exit code is 2.

    An unknown profile, setting, option, planner, protocol or version, a value that is refused, a file that is not
    there, or a command that comes too early. The message names it, and the fix.
    """


class Section(BaseModel):
    """A part of params.yaml, or of another file of ours; an unknown key is an error, and so is an infinite number."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

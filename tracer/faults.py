"""What an error says, as a message has it."""

from __future__ import annotations

from pydantic import ValidationError


def faults(error: Exception, between: str = "; ") -> str:
    """What an error says; of a validation each fault with its place, without the value: a secret, or megabytes."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_input=False, include_url=False)
    return between.join(": ".join(filter(None, (".".join(map(str, each["loc"])), each["msg"]))) for each in found)

"""What every tool of the toolbox has: a schema, and an outcome that depends on nothing but its arguments."""

from __future__ import annotations

import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from tracer.action import Action
from tracer.examples import Example
from tracer.faults import faults
from tracer.lineage.code import code_digest
from tracer.settings import ConfigError
from tracer.tools.execution import Identity, Outcome

Arguments = TypeVar("Arguments", bound=BaseModel)
CACHED = 4096


class Tool(ABC, Generic[Arguments]):
    """An executor of one tool, without an environment."""

    name: str
    """The name that it is called and registered by."""
    about: str
    arguments: type[Arguments]

    def __init__(self) -> None:
        self._outcome = lru_cache(CACHED)(self._run)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as a JSON schema, as OpenAI's interface has it."""
        return {"name": self.name, "description": self.about, "parameters": self.arguments.model_json_schema()}

    @abstractmethod
    def run(self, arguments: Arguments) -> str:
        """The answer; raises ``ValueError`` for what it cannot do."""

    def execute(self, at: Example, call: Action) -> Outcome | None:
        """What the tool answers, wherever it is called; None for another tool's call."""
        return self._outcome(call.get("arguments")) if call.get("name") == self.name else None

    def _run(self, arguments: str) -> Outcome:
        try:
            return Outcome(answer=self.run(self.arguments.model_validate_json(arguments)))
        except ConfigError:
            raise  # what the tool needs is not there: no call can be judged
        except ValueError as error:  # pydantic's are of this kind, too
            return Outcome(answer=f"error: {faults(error)}", failed=True)

    def version(self) -> str:
        """Of the tool: the project's, unless it stands on something else."""
        return importlib.metadata.version("tracer")

    def identities(self) -> Sequence[Identity]:
        """The tool, by the digest of its code."""
        return [Identity(name=self.name, version=self.version(), digest=code_digest(type(self).__module__))]

"""The section ``planner`` of params.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from tracer.grammars.reading import Constrain, ParseRule
from tracer.settings import Section

OWN_FOLDERS = ("data", "build", ".", "..")


def is_hub_id(base: str) -> bool:
    """Whether a base is meant as ``owner/name`` on the hub: one slash, and no folder of the project or of that name."""
    parts = base.split("/")
    return len(parts) == 2 and all(parts) and parts[0] not in OWN_FOLDERS and not Path(base).exists()


class PlannerConfig(Section):
    """What forecasts."""

    base: str = "data/base"
    """The base planner: a folder, or a model id of the Hugging Face hub (``owner/name``)."""
    revision: str | None = None
    """The pinned commit of a base from the hub; a folder is pinned by its content."""
    grammar: Literal["pointing", "literal", "reasoned"] = "pointing"
    parse: ParseRule = "prefix"
    """Whether a line of an answer that does not parse costs the lines from there on, or the whole forecast."""
    constrain: Constrain = "off"
    """Whether the planner can write nothing but forecasts in its grammar, whose first step the present screen allows:
    when it is evaluated or acts, or when it is trained as well."""
    horizon: int = Field(default=5, ge=1)
    """T, the steps of a forecast."""
    history: int = Field(default=4, ge=0)
    """How many past step instructions the prompt shows."""
    image: bool = True
    """Whether the planner sees the screenshot beside the element list."""
    max_prompt_tokens: int = Field(default=768, gt=0)
    """The longest prompt, image tokens included, that validation lets pass."""
    max_new_tokens: int = Field(default=48, gt=0)

    @model_validator(mode="after")
    def _pinned(self) -> PlannerConfig:
        if self.revision is None and is_hub_id(self.base):
            raise ValueError(
                f"base {self.base!r} is not a folder here; as a model id of the hub it needs planner.revision, the "
                f"40 hex digits of a commit: a name alone is another model tomorrow"
            )
        if self.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise ValueError(f"revision {self.revision!r} is not a commit; branches and tags move: give 40 hex digits")
        if self.revision is not None and not is_hub_id(self.base):
            raise ValueError(f"base {self.base!r} is a folder, which has no revision; leave planner.revision out")
        return self

"""The grammars by name.

``planner.grammar`` in params.yaml chooses: ``literal`` for large models, ``reasoned`` for those that think aloud first,
``pointing`` for small ones.
"""

from __future__ import annotations

from tracer.grammars.literal import Literal, Reasoned
from tracer.grammars.pointing import Pointing
from tracer.grammars.reading import Grammar, ParseRule

GRAMMARS: dict[str, type[Grammar]] = {"literal": Literal, "reasoned": Reasoned, "pointing": Pointing}


def grammar(name: str, rule: ParseRule = "prefix") -> Grammar:
    """The grammar of that name; raises ``KeyError``."""
    return GRAMMARS[name](rule)

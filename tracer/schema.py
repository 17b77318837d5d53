"""The JSON schemas of our file formats, generated from the models that read the files: ``tracer schema NAME``."""

from __future__ import annotations

from typing import Any

from tracer.action import COORDINATES, DIRECTIONS, GRAMMAR, NUMBERS, STATUSES
from tracer.scoring.contract import benchmark_class
from tracer.sources.jsonl import Episode

DRAFT = "https://json-schema.org/draft/2020-12/schema"
EPISODE = "episode"
CHOICES = {"direction": DIRECTIONS, "status": STATUSES}


def schema(name: str) -> dict[str, Any]:
    """The schema of a line of a recording (``episode``), or of a benchmark's two files; raises ``PluginError``."""
    return episode_schema() if name == EPISODE else benchmark_schema(name)


def benchmark_schema(benchmark: str) -> dict[str, Any]:
    """``$defs/item`` and ``$defs/prediction``: a line of items.jsonl and of predictions.jsonl."""
    scorer = benchmark_class(benchmark)
    definitions: dict[str, Any] = {}
    for name, model in (("item", scorer.item_model), ("prediction", scorer.prediction_model)):
        made = model.model_json_schema(ref_template="#/$defs/{model}")
        definitions |= made.pop("$defs", {})
        definitions[name] = made
    title = f"{benchmark}: a line of items.jsonl (item) and of predictions.jsonl (prediction)"
    return {"$schema": DRAFT, "title": title, "$defs": dict(sorted(definitions.items()))}


def episode_schema() -> dict[str, Any]:
    """A line of the interchange format, from the adapter's model and the grammar of actions."""
    schema = Episode.model_json_schema()
    schema["$defs"]["Action"] = {"oneOf": [_action_schema(kind) for kind in GRAMMAR]}
    schema["$defs"]["StepRecord"]["properties"]["action"] = {"$ref": "#/$defs/Action"}
    return {"$schema": DRAFT, **schema, "title": "One episode, a line of a recording"}


def _action_schema(kind: str) -> dict[str, Any]:
    required, optional = GRAMMAR[kind]
    properties = {name: _argument_schema(name) for name in (*required, *optional)}
    return {
        "type": "object",
        "title": kind,
        "properties": {"type": {"const": kind}, **properties},
        "required": ["type", *required],
        "additionalProperties": False,
    }


def _argument_schema(name: str) -> dict[str, Any]:
    if name in COORDINATES:
        return {"type": "number", "minimum": 0, "maximum": 1}
    if name in NUMBERS:
        return {"type": "number", "minimum": 0}
    if name == "arguments":
        return {"type": "object"}
    return {"enum": list(CHOICES[name])} if name in CHOICES else {"type": "string"}

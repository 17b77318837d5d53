"""``tracer ingest --check``: what an ingestion would reject, without writing anything.

``schema_errors`` holds a file of the interchange format (tracer/sources/jsonl.py) against the JSON schema that tools in
other languages validate with, ``tracer/sources/episode.schema.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tracer.sources
from tracer.action import COORDINATES, DIRECTIONS, GRAMMAR, NUMBERS, STATUSES
from tracer.ingestion.parts import checked_options, unique
from tracer.sources.source import Rejected, source

SCHEMA = Path(tracer.sources.__path__[0]) / "episode.schema.json"
MAX_SHOWN = 20
CHOICES = {"direction": DIRECTIONS, "status": STATUSES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a source holds."""

    trajectories: int
    steps: int
    rejected: int
    reasons: Mapping[str, int]
    problems: tuple[str, ...]
    """The first ``MAX_SHOWN`` problems: the file, the row, what is wrong and the mend."""


def check(name: str, path: Path, options: Mapping[str, Any] | None = None) -> Checked:
    """Read a source as an ingestion would; raises ``SourceError`` for one that cannot be read at all."""
    trajectories, steps = 0, 0
    reasons: Counter[str] = Counter()
    problems: list[str] = []
    for item in unique(source(name).read(path, **checked_options(name, options or {}))):
        if isinstance(item, Rejected):
            reasons[item.reason] += 1
            problems += [str(item)] if len(problems) < MAX_SHOWN else []
        else:
            trajectories, steps = trajectories + 1, steps + len(item.steps)
    return Checked(
        trajectories=trajectories,
        steps=steps,
        rejected=reasons.total(),
        reasons=dict(sorted(reasons.items())),
        problems=tuple(problems),
    )


def schema_errors(path: Path) -> Iterator[str]:
    """Every line of an interchange file that the JSON schema refuses: the row, the field and why."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    with path.open("rb") as lines:
        for row, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                episode = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                yield f"{path.name}, row {row}: no JSON object: {error}; write the line again"
                continue
            for found in validator.iter_errors(episode):
                yield f"{path.name}, row {row}, {found.json_path}: {found.message[:200]}"


def episode_schema() -> dict[str, Any]:
    """The JSON schema of a line of the interchange format, from the adapter's model and the grammar of actions."""
    from tracer.sources.jsonl import Episode

    schema = Episode.model_json_schema()
    schema["$defs"]["Action"] = {"oneOf": [_action_schema(kind) for kind in GRAMMAR]}
    schema["$defs"]["StepRecord"]["properties"]["action"] = {"$ref": "#/$defs/Action"}
    title = "One episode, a line of a recording"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": title}


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

"""Traces as ATIF, the Agent Trajectory Interchange Format (v1.8, package ``atif``): an episode a document.

The goal with the first screen is the user's step. Each turn is an agent's step: the raw answer is its message, the
executed action its tool call, and the screen after it (or how the episode ended) the observation. The forecast has no
place in the format and is in ``extra``, with the prompt.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tracer.evaluation.traces import SCREENS
from tracer.json_files import write_json
from tracer.reporting.traced import Row, about, name

VERSION = "ATIF-v1.8"


def write(folder: Path, rows: Sequence[Row], out: Path) -> None:
    """Write a document for each of a folder's traced episodes, with their screens beside them."""
    (out / "screens").mkdir(exist_ok=True)
    for row in rows:
        write_json(out / f"{name(folder, row)}.json", document(row, folder.name))
        for screen in {turn["screen"] for turn in row["turns"]} - {None}:
            shutil.copyfile(folder / SCREENS / screen, out / "screens" / screen)


def document(row: Row, planner: str) -> dict[str, Any]:
    """The document of an episode as ``evaluation.traces`` keeps it."""
    turns = row["turns"]
    goal = [{"type": "text", "text": row["goal"]}, *_picture(turns[0]["screen"] if turns else None)]
    steps = [{"source": "user", "message": goal}, *_steps(turns)]
    return {
        "schema_version": VERSION,
        "session_id": f"{row['task']}/{row['seed']}",
        "trajectory_id": f"{planner}/{row['id']}",
        "agent": {
            "name": f"tracer/{row['strategy']}",
            "version": importlib.metadata.version("tracer"),
            "model_name": planner,
        },
        "steps": [{"step_id": number, **step} for number, step in enumerate(steps, start=1)],
        "final_metrics": {
            "total_completion_tokens": row["tokens"],
            "total_steps": len(steps),
            "extra": about(row),
        },
    }


def _steps(turns: Sequence[Row]) -> Iterator[dict[str, Any]]:
    for number, turn in enumerate(turns, start=1):
        after = turns[number]["screen"] if number < len(turns) else None
        step: dict[str, Any] = {
            "source": "agent",
            "message": turn["answer"],
            "llm_call_count": turn["calls"],
            "extra": {key: turn[key] for key in ("prompt", "error", "forecast", "chosen", "step", "seconds")},
        }
        if turn["calls"]:
            step["metrics"] = {"completion_tokens": turn["tokens"]}
        seen: dict[str, Any] = {"content": _picture(after) or turn["outcome"]}
        if turn["action"]:
            action = dict(turn["action"])
            call = f"turn-{number}"
            step["tool_calls"] = [{"tool_call_id": call, "function_name": action.pop("type"), "arguments": action}]
            seen["source_call_id"] = call
        yield {**step, "observation": {"results": [seen]}}


def _picture(screen: str | None) -> list[dict[str, Any]]:
    return [{"type": "image", "source": {"media_type": "image/webp", "path": f"screens/{screen}"}}] if screen else []

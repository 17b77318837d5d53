"""Traces as ATIF, the Agent Trajectory Interchange Format (v1.8, package ``atif``): an episode a document.

The goal with the first screen is the user's step. Each turn is an agent's step: the raw answer is its message, the
executed action its tool call, and the screen after it (or how the episode ended) the observation. The forecast has no
place in the format and is in ``extra``, with the prompt.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import json_lines
from tracer.evaluation.traces import SCREENS, TRACES
from tracer.json_files import write_json
from tracer.lineage.digest import LineageError

VERSION = "ATIF-v1.8"


def export(folders: Sequence[Path], out: Path) -> int:
    """Write a document for every traced episode of the folders, with the screens beside them; how many there are.

    Raises ``LineageError`` where there is no trace.
    """
    number = 0
    for root in folders:
        for path in [root / TRACES, *sorted(root.glob(f"*/{TRACES}"))]:
            folder = path.parent.parent
            last = {row["id"]: row for row in json_lines.iterate(path)} if path.is_file() else {}
            for row in last.values():
                number += 1
                name = f"{folder.name}/{row['id']}".replace("/", "-")
                (out / "screens").mkdir(parents=True, exist_ok=True)
                write_json(out / f"{name}.json", document(row, folder.name))
                for screen in {turn["screen"] for turn in row["turns"]} - {None}:
                    shutil.copyfile(folder / SCREENS / screen, out / "screens" / screen)
    if not number:
        names = ", ".join(map(str, folders))
        raise LineageError(f"{names} contains no trace ({TRACES}); `tracer evaluate online` writes one")
    return number


def document(row: Mapping[str, Any], planner: str) -> dict[str, Any]:
    """The document of an episode as ``evaluation.traces`` keeps it."""
    turns = row["turns"]
    goal = [{"type": "text", "text": row["goal"]}, *_picture(turns[0]["screen"] if turns else None)]
    steps = [{"source": "user", "message": goal}, *_steps(turns)]
    about = {name: row[name] for name in ("task", "split", "seed", "success", "reason", "first_wrong")}
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
            "extra": about,
        },
    }


def _steps(turns: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, turn in enumerate(turns, start=1):
        after = turns[number]["screen"] if number < len(turns) else None
        step: dict[str, Any] = {
            "source": "agent",
            "message": turn["answer"],
            "llm_call_count": turn["calls"],
            "extra": {name: turn[name] for name in ("prompt", "error", "forecast", "chosen", "step", "seconds")},
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

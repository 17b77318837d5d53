"""Traces as logs of Inspect, which ``inspect view`` shows and ``inspect view bundle`` makes a static site of.

A log is what one strategy did with one planner: a sample a task and seed, an epoch a repetition. Its messages are the
turns: the prompt with the screen, the answer with its forecast drawn on that screen and the executed action as a tool
call, and what came of it. The format is that of inspect_ai 0.3.285 (``.eval``, log version 2): a zip with
``header.json``, ``summaries.json`` and a file for every sample, so that its viewer loads only the samples that somebody
opens. A sample has each picture once, as an attachment that its messages name.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from tracer.evaluation.traces import TRACES
from tracer.lineage.digest import digest_of
from tracer.reporting.gallery import data_uri
from tracer.reporting.overlay import paint
from tracer.reporting.traced import Row, about, expected, state

VERSION = 2
SCORER = "success"
SHORT = 1000
"""Characters of a text in the list of samples."""


def write(folder: Path, rows: Sequence[Row], out: Path) -> None:
    """Write a log for each strategy of a folder's traced episodes."""
    written = datetime.fromtimestamp((folder / TRACES).stat().st_mtime, UTC).isoformat(timespec="seconds")
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        played = [row for row in rows if row["strategy"] == strategy]
        header = _header(folder, strategy, played, written)
        identity = header["eval"]["task_id"]
        # Inspect splits a file's name at the underscores: time, task, and what identifies it.
        file = f"{written.replace(':', '-')}_{strategy.replace('_', '-')}_{identity}.eval"
        summaries = []
        with zipfile.ZipFile(out / file, "w", zipfile.ZIP_DEFLATED) as log:
            for row in played:
                sample = _sample(folder, row)
                log.writestr(f"samples/{sample['id']}_epoch_{sample['epoch']}.json", orjson.dumps(sample))
                summaries.append(_summary(sample))
            log.writestr("summaries.json", orjson.dumps(summaries))
            log.writestr("header.json", orjson.dumps(header))


def _header(folder: Path, strategy: str, rows: Sequence[Row], written: str) -> dict[str, Any]:
    identity = digest_of([str(folder), strategy, written])[:22]
    names = list(dict.fromkeys(map(_identity, rows)))
    success = sum(row["success"] for row in rows) / len(rows)
    tokens = _usage(folder, sum(row["tokens"] for row in rows))
    scores = {
        "name": SCORER,
        "scorer": SCORER,
        "scored_samples": len(rows),
        "metrics": {"accuracy": {"name": "accuracy", "value": success}},
    }
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": identity,
            "run_id": identity,
            "task_id": identity,
            "created": written,
            "task": strategy,
            "dataset": {"name": "online", "samples": len(names), "sample_ids": names},
            "solver": strategy,
            "model": folder.name,
            "config": {},
            "packages": {"tracer": importlib.metadata.version("tracer")},
        },
        "results": {"total_samples": len(rows), "completed_samples": len(rows), "scores": [scores]},
        "stats": {"started_at": written, "completed_at": written, "model_usage": tokens},
    }


def _identity(row: Row) -> str:
    return f"{row['task']}-{row['seed']}".replace("/", "-")


def _usage(folder: Path, tokens: int) -> dict[str, Any]:
    return {folder.name: {"output_tokens": tokens, "total_tokens": tokens}}


def _sample(folder: Path, row: Row) -> dict[str, Any]:
    """An episode; ``C`` and ``I`` are Inspect's correct and incorrect."""
    attachments: dict[str, str] = {}
    messages = list(_messages(folder, row, attachments))
    answers = [message for message in messages if message["role"] == "assistant"]
    score = {
        "value": "C" if row["success"] else "I",
        "explanation": row["reason"],
        "metadata": {"first_wrong": row["first_wrong"]},
    }
    return {
        "id": _identity(row),
        "epoch": row["run"] + 1,
        "input": row["goal"],
        "target": "solved",
        "messages": messages,
        "output": {
            "model": folder.name,
            "choices": [{"message": message, "stop_reason": "stop"} for message in answers[-1:]],
        },
        "scores": {SCORER: score},
        "metadata": about(row),
        "model_usage": _usage(folder, row["tokens"]),
        "total_time": sum(turn["seconds"] for turn in row["turns"]),
        "turn_count": len(row["turns"]),
        "attachments": attachments,
    }


def _summary(sample: Mapping[str, Any]) -> dict[str, Any]:
    """What the list of samples shows."""
    kept = ("id", "epoch", "target", "scores", "metadata", "model_usage", "total_time", "turn_count")
    return {
        **{key: sample[key] for key in kept},
        "input": sample["input"][:SHORT],
        "completed": True,
        "message_count": len(sample["messages"]),
    }


def _messages(folder: Path, row: Row, attachments: dict[str, str]) -> Iterator[dict[str, Any]]:
    for number, turn in enumerate(row["turns"], start=1):
        seen, plan = state(folder, row, turn), expected(turn)
        asked: list[dict[str, Any]] = [{"type": "text", "text": turn["prompt"] or row["goal"]}]
        answered = [{"type": "text", "text": turn["answer"]}]
        if seen.image is not None:
            asked.append(_picture(seen.image, "image/webp", attachments))
            answered.append(_picture(paint(seen, plan, error=turn["error"]), "image/png", attachments))
        yield {"id": f"asked-{number}", "role": "user", "content": asked}
        action = dict(turn["action"] or {})
        call = {"id": f"turn-{number}", "function": action.pop("type", ""), "arguments": action}
        yield {
            "id": f"answered-{number}",
            "role": "assistant",
            "content": answered,
            "tool_calls": [call] if turn["action"] else None,
            "model": folder.name,
            "metadata": {key: turn[key] for key in ("forecast", "chosen", "step", "error", "calls", "tokens", "note")},
        }
        if turn["action"]:
            goes_on = "The screen changed." if turn["changed"] else "The screen did not change."
            came = turn["outcome"] or goes_on
            yield {"id": f"came-{number}", "role": "tool", "tool_call_id": call["id"],
                   "function": call["function"], "content": came}  # fmt: skip


def _picture(content: bytes, kind: str, attachments: dict[str, str]) -> dict[str, Any]:
    """A picture as a message names it; what it names is put beside the others, if it is not there yet."""
    key = hashlib.sha256(content).hexdigest()[:32]
    attachments[key] = data_uri(content, kind)
    return {"type": "image", "image": f"attachment://{key}"}

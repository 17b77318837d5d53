"""Online episodes as MLflow traces, which MLflow's own pages show: an episode a trace, a turn a span, an answer a span.

The session of a trace is the task and seed: MLflow's list of sessions has all planners and agents together that met the
same episode.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer.evaluation.traces import SCREENS, TRACES, episodes
from tracer.reporting.gallery import data_uri

MOST = 32
"""Episodes of a folder that are logged, one failure in two as far as there are any; ``tracer view`` shows them all."""
LARGEST = 32 * 2**10
"""Bytes of a screen that is put into a trace."""


def log_traces(experiment_id: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> int:
    """Log the traced episodes of an online evaluation with its run; how many there are."""
    chosen = list(choose(episodes(folder) if (folder / TRACES).is_file() else []))
    for row in chosen:
        _trace(row, experiment_id, run_id, folder, tags)
    return len(chosen)


def delete_traces(client: Any, experiment_id: str, run_id: str) -> None:
    """Delete the traces of a run that was never finished."""
    found = client.search_traces(locations=[experiment_id], run_id=run_id, include_spans=False, max_results=MOST)
    if found:
        client.delete_traces(experiment_id, trace_ids=[trace.info.trace_id for trace in found])


def choose(rows: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """At most ``MOST`` episodes, failures and successes in turn, each spread evenly over the rows."""
    failed, solved = ([row for row in rows if (row["success"] > 0) == kind] for kind in (False, True))
    few = min(len(solved), max(MOST // 2, MOST - len(failed)))
    for found, most in ((failed, MOST - few), (solved, few)):
        yield from found[:: max(1, -(-len(found) // most))] if most else ()


def _trace(row: Mapping[str, Any], experiment_id: str, run_id: str, folder: Path, tags: Mapping[str, str]) -> None:
    import mlflow
    from mlflow.entities import SpanType

    clock = time.time_ns() - sum(_nanoseconds(turn) for turn in row["turns"])
    about = {name: row[name] for name in ("task", "split", "seed", "strategy")}
    root = mlflow.start_span_no_context(
        row["id"],
        span_type=SpanType.AGENT,
        inputs={"goal": row["goal"], **about},
        experiment_id=experiment_id,
        start_time_ns=clock,
        metadata={"mlflow.trace.session": f"{row['task']}/{row['seed']}", "mlflow.sourceRun": run_id},
        tags={**tags, "success": str(row["success"]), **{name: str(value) for name, value in about.items()}},
    )
    for number, turn in enumerate(row["turns"], start=1):
        span = mlflow.start_span_no_context(
            f"turn {number}: {turn['step'] or turn['outcome']}"[:120],
            span_type=SpanType.TOOL,
            parent_span=root,
            inputs={"forecast": [step["instruction"] for step in turn["forecast"]], "action": turn["action"]},
            start_time_ns=clock,
        )
        if turn["calls"]:
            _answer(turn, span, folder, clock)
        clock += _nanoseconds(turn)
        status = "ERROR" if turn["outcome"] not in ("", "solved") else "OK"
        outputs = {"outcome": turn["outcome"] or "goes on", "changed": turn["changed"]}
        span.end(outputs=outputs, status=status, end_time_ns=clock)
    root.end(
        outputs={"success": row["success"], "reason": row["reason"], "first_wrong": row["first_wrong"]},
        status="OK" if row["success"] else "ERROR",
        end_time_ns=clock,
    )


def _answer(turn: Mapping[str, Any], parent: Any, folder: Path, clock: int) -> None:
    """The planner's call, as the conversation that MLflow's chat view shows."""
    import mlflow
    from mlflow.entities import SpanType

    content: list[dict[str, Any]] = [{"type": "text", "text": turn["prompt"]}]
    screen = folder / SCREENS / turn["screen"] if turn["screen"] else None
    if screen is not None and screen.stat().st_size <= LARGEST:
        content.append({"type": "image_url", "image_url": {"url": data_uri(screen.read_bytes(), "image/webp")}})
    span = mlflow.start_span_no_context(
        "forecast",
        span_type=SpanType.CHAT_MODEL,
        parent_span=parent,
        inputs={"messages": [{"role": "user", "content": content}]},
        attributes={"mlflow.message.format": "openai", "calls": turn["calls"], "tokens": turn["tokens"]},
        start_time_ns=clock,
    )
    message = {"role": "assistant", "content": turn["answer"]}
    span.end(outputs={"choices": [{"message": message}]}, end_time_ns=clock + _nanoseconds(turn))


def _nanoseconds(turn: Mapping[str, Any]) -> int:
    return int(turn["seconds"] * 1e9)

"""The step ``report``: one HTML page that holds everything, pictures included, and asks the network for nothing.

What came out is first: the claims, each with its interval, and what they cost. On a phone most of the rest is folded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracer import json_lines, package_data
from tracer.config import Config
from tracer.evaluation.results import SCORES, read_scores
from tracer.json_files import read_json
from tracer.lineage.digest import finished
from tracer.lineage.step import run_step
from tracer.reporting.charts import Dots, Series, dot_chart, line_chart
from tracer.reporting.gallery import gallery, tally
from tracer.reporting.summary import episodes, made, spent
from tracer.reporting.tables import (
    PLANNERS,
    SPLITS,
    STRATEGIES,
    Table,
    evaluated,
    number,
    offline_tables,
    online_tables,
    signed,
    skipped,
    strategy_differences,
)
from tracer.stages import PROMISES, STAGES
from tracer.statistics import Interval

PAGE = "report.html"
EXHIBITS = 9
CHARTED = ("step", "similarity", "grounding", "type")


def report(config: Config, folders: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Write ``report.html`` from the folders of finished steps; return the lineage.

    ``folders`` maps steps to their folders: ``trajectories`` and at least one ``evaluate-<planner>``; the others
    (``online-<planner>``, the stages, ``validate``) are shown where they are given.
    Raises ``LineageError`` for an unfinished one, or evaluations of different states.
    """
    if "trajectories" not in folders or not any(name.startswith("evaluate-") for name in folders):
        raise ValueError(f"a report needs 'trajectories' and an 'evaluate-<planner>' folder, not {sorted(folders)}")
    return run_step(out=out, body=lambda folder: write(config, folders, folder), **recipe(config, folders))


def recipe(config: Config, folders: Mapping[str, Path]) -> dict[str, Any]:
    """What the digest of ``report`` is made of, as ``run_step`` takes it."""
    return {
        "name": "report",
        "config": {
            "profile": config.profile,
            "planner": config.planner.model_dump(exclude={"base", "max_prompt_tokens"}),
            "reward": config.reward.model_dump(),
            "grounding": config.grounding.model_dump(),
            "evaluation": config.evaluation.model_dump(),
        },
        "inputs": folders,
        "module": __name__,
        "seed": config.seed,
    }


def write(config: Config, folders: Mapping[str, Path], out: Path) -> dict[str, Any]:
    """Render the page into the folder; how many exhibits and bytes it has, and which claims it shows."""
    resamples = config.evaluation.resamples
    offline, online = offline_tables(folders, resamples), online_tables(folders, resamples)
    exhibits = gallery(config, folders["trajectories"], folders, EXHIBITS)
    claimed = claims(offline, online)
    page = render(
        config=config,
        offline=offline,
        online=online,
        strategies=STRATEGIES,
        strategy_rows=strategy_rows(folders, resamples),
        costs=costs(folders),
        made=made(folders),
        spent=spent(folders),
        episodes=episodes(folders, config.seed),
        calibration=calibration(folders),
        skipped=skipped(folders),
        claims=claimed,
        dots=dots(offline),
        curves=curves(folders),
        exhibits=exhibits,
        tally=tally(exhibits),
        ahead=ahead(folders),
        tasks=tasks(folders),
        lineage=lineage_rows(folders),
        data=data_rows(folders),
        limits=limits(config, folders, online),
        planners=PLANNERS,
        stages=STAGES,
    )
    (out / PAGE).write_text(page, encoding="utf-8")
    verdicts = [finding["difference"].verdict for claim in claimed for finding in claim["findings"]]
    return {
        "exhibits": len(exhibits),
        "bytes": len(page.encode()),
        **{verdict.replace(" ", "_"): verdicts.count(verdict) for verdict in ("shown", "not shown", "reversed")},
    }


def render(**context: Any) -> str:
    """The page; every text is escaped but the charts, which are made here."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "svg": Markup,
        "number": number,
        "signed": signed,
        "p_value": p_value,
        "range": interval_text,
        "heat": heat,
    }
    return environment.from_string(package_data.read("reporting/templates/report.html.j2")).render(context)


def claims(offline: Sequence[Table], online: Sequence[Table]) -> list[dict[str, Any]]:
    """What each stage promises, compared with these results split by split."""
    found = []
    for stage, promise in PROMISES:
        tables, key = (online, "anticipatory") if promise.online else (offline, promise.metric)
        before = promise.over or stage.start
        findings = [
            {
                "split": SPLITS[table.split],
                "before": line.scores[before].mean,
                "after": line.scores[stage.name].mean,
                "difference": line.differences[before, stage.name],
            }
            for table in tables
            for line in table.lines
            if line.key == key and (before, stage.name) in line.differences
        ]
        if findings:
            found.append({"text": promise.text, "findings": findings})
    return found


def dots(tables: Sequence[Table]) -> list[dict[str, Any]]:
    """One dot-and-whisker chart a split."""
    charts = []
    for table in tables:
        rows = [
            Dots(name=line.name, intervals=tuple(line.scores[name] for name in table.planners))
            for line in table.lines
            if line.key in CHARTED
        ]
        svg = dot_chart(rows, f"scores on {table.title}, with 95 % intervals")
        charts.append({"title": table.title, "names": [PLANNERS[name] for name in table.planners], "svg": svg})
    return charts


def curves(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Per training stage: the reward and its parts, and the shares of dead groups and unparsable forecasts."""
    found = []
    for stage in STAGES:
        path = folders[stage.name] / "metrics.jsonl" if stage.name in folders else None
        if path is None or not path.is_file():
            continue
        history = json_lines.read(path)
        parts = sorted({key for row in history for key in row if key.startswith("rewards/") and key.endswith("/mean")})
        rewards = {"reward": "reward"} | {key: key.split("/")[1] for key in parts if len(parts) > 1}
        shares = {"dead_groups": "dead groups", "unparsable": "unparsable"}
        charts = []
        for names, share, label in ((rewards, False, "reward"), (shares, True, "dead groups and unparsable forecasts")):
            series = [_series(history, key, name) for key, name in names.items()]
            series = [each for each in series if each.points]
            svg = line_chart(series, f"{stage.title}: {label} by training step", share=share)
            if svg:
                charts.append({"label": label, "names": [each.name for each in series], "svg": svg})
        found.append({"stage": stage.title, "steps": len(history), "charts": charts})
    return found


def _series(history: Sequence[Mapping[str, Any]], key: str, name: str) -> Series:
    points = tuple((float(row.get("step", i)), float(row[key])) for i, row in enumerate(history, start=1) if key in row)
    return Series(name=name, points=points)


def calibration(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """A chart a split: how often step 1, 2, ... of a forecast comes true, a line per planner."""
    charts = []
    for block in ahead(folders):
        series = [
            Series(
                name=line["planner"],
                points=tuple((at, mean) for at, mean in enumerate(line["steps"], start=1) if mean is not None),
            )
            for line in block["lines"]
        ]
        label = f"how often each step of a forecast comes true, {block['title']}"
        svg = line_chart(series, label, share=True, smooth=False)
        if svg:
            charts.append({"title": block["title"], "names": [each.name for each in series], "svg": svg})
    return charts


def strategy_rows(folders: Mapping[str, Path], resamples: int) -> list[dict[str, Any]]:
    """What anticipation is worth, planner by planner."""
    rows = []
    for planner, folder in evaluated(folders, "online").items():
        for split, differences in strategy_differences(folder, resamples).items():
            if differences:
                rows.append({"planner": PLANNERS[planner], "split": SPLITS[split], "differences": differences})
    return rows


def costs(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What the mean episode took, by planner, strategy and split: steps, the planner's answers, their tokens. And the
    success of each identical run."""
    return [
        {
            "planner": PLANNERS[planner],
            "strategy": strategy,
            "split": SPLITS[split],
            "means": [block["metrics"][metric]["mean"] for metric in ("steps", "calls", "tokens")],
            "runs": scores.get("runs", {}).get(strategy, {}).get(split, []),
        }
        for planner, folder in evaluated(folders, "online").items()
        for scores in [read_scores(folder)]
        for strategy, splits in scores.get("strategies", {}).items()
        for split, block in splits.items()
    ]


def tasks(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Per split and page: each planner's step success, forecast similarity, and online success."""
    offline = {name: read_scores(path) for name, path in evaluated(folders, "evaluate").items()}
    online = {name: read_scores(path) for name, path in evaluated(folders, "online").items()}
    online = {name: scores for name, scores in online.items() if "skipped" not in scores}
    found = []
    for split, block in next(iter(offline.values()))["splits"].items():
        lines = []
        for task in block["tasks"]:
            cells = [
                _task_cell(scores["splits"], split, task, metric)
                for metric in ("step", "similarity")
                for scores in offline.values()
            ]
            cells += [
                _task_cell(next(iter(scores["strategies"].values())), split, task, "success")
                for scores in online.values()
            ]
            lines.append({"task": task, "states": block["tasks"][task]["counts"]["states"], "cells": cells})
        groups = [("step success", list(offline)), ("forecast similarity", list(offline))]
        groups += [("online success", list(online))] if online else []
        found.append({"title": SPLITS[split], "groups": groups, "lines": lines})
    return found


def _task_cell(splits: Mapping[str, Any], split: str, task: str, metric: str) -> float | None:
    block = splits.get(split, {}).get("tasks", {}).get(task)
    return None if block is None else block["metrics"][metric]["mean"]


def ahead(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """A table per split of what lies ahead: how often step k of a forecast comes true, and the step success in states
    from which few or many steps are left; a line per planner."""
    offline = evaluated(folders, "evaluate")
    scores = {name: read_json(path / SCORES, "calibration", "remaining") for name, path in offline.items()}
    blocks = []
    for split, title in SPLITS.items():
        lines = [
            {
                "planner": PLANNERS[name],
                "steps": [step["mean"] for step in found["calibration"][split]],
                "left": {left: metrics["step"]["mean"] for left, metrics in found["remaining"][split].items()},
            }
            for name, found in scores.items()
            if split in found["calibration"]
        ]
        if lines:
            blocks.append({"title": title, "lines": lines})
    return blocks


LINEAGE_KEYS = (
    "step", "digest", "output", "inputs", "git", "lock", "seed", "hardware", "versions", "metrics", "config",
)  # fmt: skip


def lineage_rows(folders: Mapping[str, Path]) -> list[dict[str, Any]]:
    """What made each folder. When that was stays in ``lineage.json``: the page is the same whenever it is made."""
    rows = []
    for name, folder in folders.items():
        lineage = finished(folder)
        if lineage is not None:
            rows.append({"name": name, **{key: lineage.get(key) for key in LINEAGE_KEYS}})
    return rows


def data_rows(folders: Mapping[str, Path]) -> dict[str, Any]:
    """The headline metrics of the ingestion and the validation."""
    names = {"trajectories": "ingest", "validate": "validate"}
    found = {title: finished(folders[name]) for name, title in names.items() if name in folders}
    return {title: lineage["metrics"] for title, lineage in found.items() if lineage is not None}


def limits(config: Config, folders: Mapping[str, Path], online: Sequence[Table]) -> list[str]:
    """What these numbers do not say."""
    texts = [
        "One seed. The intervals hold the chance of which held-out trajectories were met, not the chance of training: "
        "another seed trains another planner. Conclusions about the method need several.",
        "A forecast is held to one demonstration. Where another order of steps is as good, it counts as wrong; only "
        "the online scores know better.",
        "Intervals are percentile bootstraps over whole trajectories (offline) or episodes (online), "
        f"{config.evaluation.resamples} resamples, 95 %. Many are shown: about one "
        "in twenty excludes zero by chance. McNemar's p is exact, but takes a trajectory's states for independent.",
        "The paper's numbers (Qwen3-VL, AndroidWorld, OSWorld) are not comparable: other planner, other screens.",
    ]
    if online:
        most = config.evaluation.max_steps
        limit = f"{most} steps" if most else "as many steps as its environment allows (scores.json lists them)"
        texts.append(
            f"An online episode counts as failed after {limit}. An agent whose first step leads nowhere asks the "
            f"planner again, at most {config.evaluation.retries} times in a state. The blind strategy asks for another "
            "forecast when its own is used up, and its steps are grounded on the screen of the moment."
        )
    texts += [f"{name} was not run: {reason}" for name, reason in skipped(folders).items()]
    return texts


def interval_text(value: Interval, metric: str, sign: bool = False) -> str:
    """An interval in words."""
    write = signed if sign else number
    return f"{write(value.low, metric)} to {write(value.high, metric)}"


def p_value(p: float) -> str:
    """A p value in words."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def heat(value: float | None) -> str:
    """How strongly a table cell is filled, in %; rounded, so that the page has few classes of it."""
    return "0" if value is None else str(round(10 * value) * 6)

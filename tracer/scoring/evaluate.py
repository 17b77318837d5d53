"""``tracer evaluate``: a planner answers a benchmark's items, and its answers are scored as any predictions are.

There is one file per finished item under ``checkpoints/items``; after a kill the run continues with the rest.
MiniWoB++ is played in Chromium by the loop of tracer/evaluation; its model may also be ``demonstrators``, the scripts
that recorded the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tracer import json_lines, plugins, tools
from tracer import planner as planners
from tracer.config import Config
from tracer.environments.environment import World
from tracer.lineage.step import run_step
from tracer.scoring import protocol as protocols
from tracer.scoring.contract import Benchmark, BenchmarkError, NotGiven, benchmark_class, played_episode
from tracer.scoring.drivers import STEPS
from tracer.scoring.files import items as read_items
from tracer.scoring.run import Limits, Row, run
from tracer.scoring.score import score_into

DEMONSTRATORS = "demonstrators"
"""The model of ``evaluate`` that is not one."""
DEMONSTRATOR = "demonstrator"
"""The strategy of its protocols."""


def evaluate(
    config: Config,
    benchmark: str,
    protocol: str,
    model: str,
    out: Path,
    *,
    items: Path | None = None,
    images: Path | None = None,
    strict: bool = True,
    limits: Limits | None = None,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Answer and score a benchmark's items with a planner; return the step's lineage.

    ``model`` is whatever ``tracer.planner.load`` takes. ``images`` is the folder that the items' images are relative
    to, by default that of ``items``. Raises ``BenchmarkError``, ``ProtocolError``.
    """
    rules = protocols.load(benchmark, protocol, None if strict else False)
    scorer = benchmark_class(benchmark)(rules)
    if items is None and not scorer.complete():
        raise NotGiven(
            f"{benchmark} is not played here without its items: pass --items (docs/benchmarks.md says how they are "
            f"made), or score what its own runner left with `tracer score`"
        )
    inputs: dict[str, Path] = {} if items is None else {"items": items}
    if Path(model).exists():
        inputs["model"] = Path(model)

    def body(folder: Path) -> Mapping[str, Any]:
        return evaluate_into(folder, config, scorer, model, items, images, limits or Limits(), resamples)

    return run_step(
        f"benchmark-{benchmark}",
        config={
            "protocol": rules.model_dump(mode="json"),
            "planner": config.planner.model_dump(exclude={"base", "max_prompt_tokens"}),
            "grounding": config.grounding.model_dump(),
            "model": "" if "model" in inputs else model,
            "resamples": resamples,
        },
        inputs=inputs,
        out=out,
        module=__name__,
        plugins=[
            plugins.module_of(plugins.BENCHMARKS, benchmark),
            planners.module(model),
            plugins.module_of(plugins.TOOLS, config.grounding.agent),
            *_players(scorer),
        ],
        body=body,
        seed=config.seed,
    )


def _players(scorer: Benchmark) -> list[str]:
    """The modules of the world and the agent that play a benchmark's episodes; none where it is not played so."""
    if not scorer.environment:
        return []
    world = plugins.module_of(plugins.ENVIRONMENTS, scorer.environment)
    agents = [name for name in [scorer.match.strategy] if name != DEMONSTRATOR]
    return [world, *(plugins.module_of(plugins.AGENTS, name) for name in agents)]


def evaluate_into(
    folder: Path,
    config: Config,
    scorer: Benchmark,
    model: str,
    items: Path | None,
    images: Path | None,
    limits: Limits,
    resamples: int,
) -> dict[str, Any]:
    """The body of the step; returns the headline metrics."""
    path = items if items is not None else json_lines.write(folder / "items.jsonl", scorer.own_items())
    rows = [item.model_dump(mode="json") for item in read_items(path, scorer.item_model)]
    predictions = folder / "predictions.jsonl"
    if scorer.environment:
        json_lines.write(predictions, _episodes(folder, config, scorer, model, rows))
    else:
        shown = images or (path.parent if items else None)
        worker = scorer.worker(planners.load(model), config.planner.horizon, tools.load(config.grounding), shown)
        run(rows, worker, folder / "checkpoints" / "items", predictions, limits)
    return score_into(folder, scorer, path, predictions, resamples, config.seed)


def _episodes(folder: Path, config: Config, scorer: Benchmark, model: str, rows: list[Row]) -> Iterator[dict[str, Any]]:
    """Episodes in the benchmark's world, those that a killed run finished first.

    Raises ``BenchmarkError`` where the world cannot be played.
    """
    world: World = plugins.load(plugins.ENVIRONMENTS, scorer.environment)()
    _, missing = world.version()
    if missing:
        raise BenchmarkError(f"{scorer.protocol.id} cannot be played: {missing}")
    strategy = scorer.match.strategy
    if (strategy == DEMONSTRATOR) != (model == DEMONSTRATORS):
        raise NotGiven(f"{scorer.protocol.id} is for {strategy!r}, not for {model!r}; choose another protocol")
    progress = folder / "checkpoints" / "episodes.jsonl"
    progress.parent.mkdir(parents=True, exist_ok=True)
    done = {row["id"]: row for row in json_lines.take_up(progress)}
    left = [row for row in rows if row["id"] not in done]
    if left:
        with open(progress, "ab") as file:
            for played in _demonstrate(left) if model == DEMONSTRATORS else _play(config, scorer, model, left):
                done[played["id"]] = played
                file.write(json_lines.one(played))
                file.flush()
    yield from (done[row["id"]] for row in rows)


def _play(config: Config, scorer: Benchmark, model: str, left: list[Row]) -> Iterator[dict[str, Any]]:
    from tracer.evaluation.episodes import Episode
    from tracer.evaluation.online import play_all

    # What a protocol does not name must not change its score.
    fixed = {"max_steps": scorer.protocol.decoding.max_steps or STEPS, "consistency": False, "retries": 0}
    limits = config.evaluation.model_copy(update={**fixed, "environment": scorer.environment})
    strategy = scorer.match.strategy
    wanted = [Episode(strategy=strategy, task=row["page"], split="test", seed=row["seed"]) for row in left]
    played = play_all(config.model_copy(update={"evaluation": limits}), wanted, planners.load(model))
    yield from (played_episode(row) for row, _ in played)


def _demonstrate(rows: list[Row]) -> Iterator[dict[str, Any]]:
    from tracer.environments.demonstrators import demonstrate
    from tracer.environments.miniwob_world import MiniWobWorld
    from tracer.environments.performance import DemonstrationFailed, Performance
    from tracer.evaluation.episodes import fault, in_rounds

    def play_round(
        world: MiniWobWorld, left: dict[str, Row], failed: dict[str, str], alone: bool
    ) -> Iterator[dict[str, Any]]:
        for key, row in list(left.items()):
            native = {"success": False, "steps": 0}
            try:
                with closing(world.open(row["page"])) as page, suppress(DemonstrationFailed):
                    performance = Performance(page, row["seed"])
                    demonstrate(performance)
                    native = {"success": performance.success, "steps": len(performance.steps)}
            except world.faults as error:
                failed[key] = fault(error)
                return
            del left[key]
            yield {"id": key, "native": native}

    yield from in_rounds({row["id"]: row for row in rows}, MiniWobWorld, play_round)

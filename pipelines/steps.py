"""How a step of the flow becomes an asset: what is declared of it, how it is run, and what is shown of the result."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import TypeAdapter

from pipelines.resources import GPU, GPU_TAGS, MODELS_RUN, Tracer, Trainer
from tracer.config import PARAMS, Config, load
from tracer.flow import RAW, STEPS, FlowStep, Kind
from tracer.lineage.code import code_digest
from tracer.lineage.digest import digest_of
from tracer.lineage.step import reused
from tracer.stages import BASE

NAMES = {RAW: "raw_episodes", BASE: "base_planner", "ingest": "trajectories", "register": "registered_model",
         "promote": "champion"}  # fmt: skip
"""The assets that are not named like their step."""
CHECKS: tuple[Kind, ...] = ("validate", "gate")
"""Steps that are no assets: they check one, and block what comes after it."""
GROUPS: dict[Kind, str] = {"ingest": "data", "train": "training", "offline": "evaluation", "online": "evaluation",
                           "report": "evaluation", "register": "registry", "promote": "registry"}  # fmt: skip

FRESH_DATA = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=28), warn_window=timedelta(days=14))
"""New data is expected every two weeks; the sensor ``watch`` says when there was none for four."""
FRESH_CHAMPION = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=14), warn_window=timedelta(days=8))
"""The schedule decides every week; two weeks without a decision mean that it does not run."""


class Interrupted(dg.DagsterError):
    """Ctrl-C, or the run's termination from the UI."""


_stopped: set[str] = set()


@contextmanager
def interruptible(context: dg.AssetExecutionContext) -> Iterator[None]:
    """For the body of a step with a retry policy: Dagster would run it again when a person stops the run.

    The step fails for good instead, and so does every later one of the run, at its start.
    """
    if context.run.run_id in _stopped:
        raise Interrupted("the run was interrupted before this step")
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError) as error:
        _stopped.add(context.run.run_id)
        raise Interrupted("interrupted; run it again to continue from the last checkpoint") from error


@cache
def settings() -> Config:
    """The configuration that runs have by default; without a params.yaml the defaults."""
    return load() if PARAMS.is_file() else Config(profile="none")


def version(step: FlowStep) -> str:
    """What Dagster compares: the digest of a step's code and settings, so that a changed parameter shows as stale."""
    code, config = code_version(step.module), settings()
    if step.recipe is None:
        return code
    if step.kind == "online":  # whose recipe asks the browser for its version
        given: Any = {"planner": config.planner, "grounding": config.grounding, "evaluation": config.evaluation}
    else:
        given = step.recipe(config, dict.fromkeys(step.reads, Path("nowhere")))["config"]
    return digest_of([code, TypeAdapter(Any).dump_python(given, mode="json")])[:16]


@cache
def code_version(module: str) -> str:
    """The digest of a step's code, that of every module it imports included."""
    return code_digest(module)[:16]


def key(name: str) -> dg.AssetKey:
    """The asset of a step, or of what the flow takes from outside."""
    return dg.AssetKey(NAMES.get(name, name.replace("-", "_")))


def declared(step: FlowStep, **more: Any) -> dict[str, Any]:
    """The arguments of ``dg.asset`` that follow from the flow; ``more`` are those that do not."""
    checks = {each.name for each in STEPS if each.kind in CHECKS}
    group = GROUPS[step.kind]
    gpu = {"pool": GPU, "op_tags": GPU_TAGS} if step.kind in MODELS_RUN else {}
    return {
        "name": key(step.name).to_user_string(),
        "deps": [key(name) for name in step.reads if name not in checks],
        "description": step.about[0].upper() + step.about[1:],
        "group_name": group,
        "owners": [f"team:{group}"],
        "tags": {"domain": group, "cost": "gpu" if gpu else "cheap"},
        "code_version": version(step),
        **gpu,
        **more,
    }


Lineage = Mapping[str, Any]
Shown = Callable[[dg.AssetExecutionContext, Config, FlowStep, Lineage], Mapping[str, Any]]
"""Gives the metadata of a step that ran with this configuration and came to this lineage."""


def asset(step: FlowStep, shown: Shown, **more: Any) -> dg.AssetsDefinition:
    """The asset of a step that needs no more than to be run; ``shown`` gives further metadata."""

    @dg.asset(**declared(step, **more))
    def made_here(context: dg.AssetExecutionContext, tracer: Tracer, trainer: Trainer) -> dg.MaterializeResult[Any]:
        config, since = tracer.config(), datetime.now(UTC)
        with interruptible(context):
            done = trainer.run(context, tracer, step)
        return made(config, step.out(config), done, since, **shown(context, config, step, done))

    return made_here


def made(
    config: Config, out: Path, done: Mapping[str, Any], since: datetime, **extra: Any
) -> dg.MaterializeResult[Any]:
    """The materialisation of a step's folder: its digest as data version, its metrics and lineage as metadata.

    ``since``: when it was asked for. A folder that was there before is reused, and its seconds are those of then.
    """
    numbers = {key: value for key, value in done["metrics"].items() if isinstance(value, int | float | str)}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(done["output"]),
        metadata={
            "folder": dg.MetadataValue.path(str(out.resolve())),
            "profile": config.profile,
            "seed": config.seed,
            "reused": reused(done, since),
            "seconds": dg.MetadataValue.float(float(done["seconds"])),
            "digest": done["digest"],
            "commit": (done["git"] or {}).get("commit") or "unknown",
            **{f"metric/{key}": value for key, value in numbers.items()},
            "lineage": dg.MetadataValue.json(dict(done)),
            **extra,
        },
    )

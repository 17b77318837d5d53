"""``tracer demo``: the whole pipeline as Dagster's job ``retrain``, in this process.

Run it again and every finished step is found by its digest; kill it, and the next run continues. Its history is in
``$DAGSTER_HOME`` (default ``.dagster``), where ``make dev`` shows it.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any

from pipelines.home import home
from tracer.config import Config


class DemoError(RuntimeError):
    """A step failed, or a gate is closed; the message says which, and why."""


def demo(config: Config) -> None:
    """Materialise every asset for a configuration.

    Raises ``DemoError`` if a step or a gate failed, and ``KeyboardInterrupt`` if Ctrl-C ended it.
    """
    home()
    os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars of loading weights, in this process and in training's
    os.environ.setdefault("TRACER_TERSE", "1")  # of training's output the log's short lines are enough
    logging.getLogger("alembic").setLevel(logging.WARNING)  # Dagster's and MLflow's tables being made
    import dagster as dg

    from pipelines.assets.data import base_planner, observe, observed, raw_episodes, raw_version
    from pipelines.definitions import defs
    from pipelines.steps import Interrupted
    from tracer.registry import start

    with dg.DagsterInstance.get() as instance:
        seen = {raw_episodes.key: raw_version(config), base_planner.key: start.identity(config)}
        for key, version in seen.items():
            if observed(instance, key) != version:
                observe(instance, key, version)
        job = defs.resolve_job_def("retrain")
        result = job.execute_in_process(instance=instance, run_config=run_config(config), raise_on_error=False)
        if interrupted(result, Interrupted.__name__):
            raise KeyboardInterrupt
        if not result.success:
            raise DemoError("\n".join(failures(result)))


def run_config(config: Config) -> dict[str, Any]:
    """The configuration as the job takes it: profile, seed, and what differs from the profile."""
    from tracer.registry.rebuild import changed

    settings = [f"{key}={json.dumps(value)}" for key, value in changed(config).items()]
    tracer = {"profile": config.profile, "seed": config.seed, "settings": settings}
    return {"resources": {"tracer": {"config": tracer}}, "loggers": {"brief": {}}}


def interrupted(result: Any, error: str) -> bool:
    """Whether Ctrl-C ended the run: in a step that would be tried again, which fails with ``error``, or in another."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error.cls_name == error:
            return True
        if event.event_type_value == "PIPELINE_FAILURE":
            return bool(event.job_failure_data.failure_reason.value == "UNEXPECTED_TERMINATION")
    return False


def failures(result: Any) -> list[str]:
    """What failed, in words: steps by their error, checks by what they found."""
    lines = []
    for event in result.all_events:
        if event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause or error
            lines.append(f"{event.step_key}: {cause.message.strip()}")
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.blocking:
            name = f"{check.asset_key.to_user_string()}/{check.check_name}"
            lines.append(f"the gate {name} is closed: {check.description}")
    return lines

"""``tracer demo``: the whole chain as Dagster's job ``retrain``, in this process, then the table of results.

Run it again and every finished step is found by its digest; kill it, and the next run goes on. It keeps its history in
``$DAGSTER_HOME`` (default ``.dagster``), where ``make dev`` shows it.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import sys
from typing import Any

from pipelines.home import home
from tracer.config import Config

PROCESS = "tracer/process"
INTERRUPTED = 130


def demo(config: Config) -> int:
    """Materialise every asset for a configuration, print the results, the champion and the report's path.

    Returns the exit code: 0, 1 if a step or a gate failed, 130 for Ctrl-C.
    """
    home()
    os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars of loading weights, in this process and in training's
    os.environ.setdefault("TRACER_TERSE", "1")  # of training's output the log's short lines are enough
    logging.getLogger("alembic").setLevel(logging.WARNING)  # Dagster's and MLflow's tables being made
    import dagster as dg

    from pipelines.assets.data import base_planner, observe, observed, raw_episodes, raw_version
    from pipelines.definitions import defs
    from pipelines.steps import Interrupted
    from tracer.flow import folder
    from tracer.lineage.digest import content_digest
    from tracer.stages import BASE

    with dg.DagsterInstance.get() as instance:
        end_dead_runs(instance)
        seen = {raw_episodes.key: raw_version(config), base_planner.key: content_digest(folder(config, BASE))}
        for key, version in seen.items():
            if observed(instance, key) != version:
                observe(instance, key, version)
        job = defs.resolve_job_def("retrain")
        result = job.execute_in_process(
            instance=instance, run_config=run_config(config), tags={PROCESS: process()}, raise_on_error=False
        )
        if interrupted(result, Interrupted.__name__):
            print("interrupted; run the same command again to go on", file=sys.stderr)
            return INTERRUPTED
        if not result.success:
            for line in failures(result):
                print(line, file=sys.stderr)
            return 1
    show(config)
    return 0


def run_config(config: Config) -> dict[str, Any]:
    """The configuration as the job takes it: profile, seed, and what differs from the profile."""
    from tracer.registry.rebuild import changed

    overrides = [f"{key}={json.dumps(value)}" for key, value in changed(config).items()]
    tracer = {"profile": config.profile, "seed": config.seed, "overrides": overrides}
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
            lines.append(
                f"the gate {check.asset_key.to_user_string()}/{check.check_name} is closed: {check.description}"
            )
    return lines


def process() -> str:
    """This process: its number alone may be used again, so its start time goes with it."""
    import psutil

    return f"{socket.gethostname()}/{os.getpid()}/{psutil.Process().create_time():.0f}"


def alive(name: str) -> bool:
    """Whether the process of a run still runs; one on another host is taken to."""
    import psutil

    host, number, started = name.rsplit("/", 2)
    if host != socket.gethostname():
        return True
    try:
        return f"{psutil.Process(int(number)).create_time():.0f}" == started
    except psutil.NoSuchProcess:
        return False


def end_dead_runs(instance: Any) -> None:
    """Close the runs of killed demos: they would be shown as running for ever, and hold their places in the pools."""
    import dagster as dg

    status = dg.DagsterRunStatus
    unfinished = dg.RunsFilter(statuses=[status.STARTED, status.STARTING, status.CANCELING])
    for run in instance.get_runs(unfinished):
        name = run.tags.get(PROCESS)
        if name is not None and not alive(name):
            instance.report_run_canceled(run, message="its process was ended before it was done")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def show(config: Config) -> None:
    """The table of results, the champion and the report."""
    from tracer import flow
    from tracer.registry import versions
    from tracer.reporting.tables import results_table

    print(results_table(flow.report_folders(config)))
    champion = versions.aliased(config.registry, versions.CHAMPION)
    if champion is None:
        print("champion: none; `tracer history` says why the challenger was refused")
    else:
        print(f"champion: {champion.name} version {champion.version} ({champion.digest[:12]}), {champion.uri}")
    for page in sorted(flow.step("report").out(config).glob("*.html")):
        print(f"report:   {page}")

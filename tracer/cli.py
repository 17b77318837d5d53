"""The ``tracer`` command: a subcommand calls one function of the library, and imports nothing heavy before it runs."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tracer.benchmarks import commands as benchmarks
from tracer.config import Config, ConfigError, load
from tracer.flow import BEFORE, MODELS, STAGES, model
from tracer.lineage import LineageError

Handler = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; the exit code is 0, 1 for a failed step or gate, 2 for wrong arguments, 130 for Ctrl-C."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    arguments = parser().parse_args(argv)
    handler: Handler = arguments.handler
    try:
        return handler(arguments)
    except Exception as error:
        # Our own errors say what is wrong and how to mend it; any other is a bug, and keeps its traceback.
        if not type(error).__module__.startswith(("tracer.", "pipelines.")) and not isinstance(
            error, FileNotFoundError
        ):
            raise
        print(f"tracer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tracer: interrupted; run the same command again to go on from the last checkpoint", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="tracer", description="Forecast a trajectory, execute its first step, forecast again."
    )
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (_add_data, _add_train, _add_evaluate, _add_registry, _add_research, _add_look):
        add(commands)
    return root


def _command(commands: Any, name: str, help: str, handler: Handler, profile: bool = True) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=help, description=help)
    command.set_defaults(handler=handler)
    if profile:
        command.add_argument("--profile", help="a profile of params.yaml (default: the one it names)")
        command.add_argument("--seed", type=int, help="the seed, which also names the output folder")
        command.add_argument(
            "--set",
            dest="overrides",
            action="append",
            default=[],
            metavar="KEY=VALUE",
            help="override, such as stage1.steps=10",
        )
        command.add_argument("--force", action="store_true", help="allow a horizon over 10")
    return command


def _config(arguments: argparse.Namespace) -> Config:
    overrides = list(arguments.overrides)
    if arguments.seed is not None:
        overrides.append(f"seed={arguments.seed}")
    return load(arguments.profile, overrides, force=arguments.force)


def _done(lineage: dict[str, Any], out: Path) -> int:
    print(
        json.dumps(
            {"out": str(out), "digest": lineage["digest"][:12], "seconds": lineage["seconds"], **lineage["metrics"]},
            indent=2,
        )
    )
    return 0


# --- data -----------------------------------------------------------------------------------------------------------


def _add_data(commands: Any) -> None:
    record = _command(
        commands, "record", "record scripted demonstrations on MiniWoB++ pages in Chromium", _record, profile=False
    )
    record.add_argument(
        "--pages", required=True, help="page names, separated by commas, or one of the groups base, rl, heldout"
    )
    record.add_argument("--split", required=True, choices=("train", "validation", "test", "heldout"))
    record.add_argument("--first-seed", type=int, default=1000)
    record.add_argument("--episodes", type=int, default=40, help="episodes a page")
    record.add_argument("--out", type=Path, required=True)
    record.add_argument("--workers", type=int, default=1)

    ingest = _command(
        commands, "ingest", "raw episodes, or a published data set, into canonical Parquet shards", _ingest
    )
    ingest.add_argument("source", nargs="?", help="an adapter of tracer/sources (default: data.source)")
    ingest.add_argument("path", nargs="?", type=Path, help="where it lies (default: data.path)")
    ingest.add_argument("--out", type=Path)
    ingest.add_argument("--workers", type=int, default=1, help="parts of the data set ingested side by side")
    ingest.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the adapter")
    ingest.add_argument("--check", action="store_true", help="read everything, write nothing, list what is wrong")

    mix = _command(commands, "mix", "the sources of `mixture`, weighted, filtered and split, as one data set", _mix)
    mix.add_argument("--out", type=Path)

    validate = _command(commands, "validate", "hold the shards against the Great Expectations suite", _validate)
    validate.add_argument("--out", type=Path)


def _record(arguments: argparse.Namespace) -> int:
    from tracer.environments import pages
    from tracer.environments.record import record

    names = {"base": pages.BASE, "rl": pages.RL, "heldout": pages.HELDOUT}.get(
        arguments.pages
    ) or arguments.pages.split(",")
    for summary in record(
        names,
        range(arguments.first_seed, arguments.first_seed + arguments.episodes),
        arguments.out,
        arguments.split,
        workers=arguments.workers,
    ):
        print(summary)
    return 0


def _ingest(arguments: argparse.Namespace) -> int:
    if arguments.source:
        return _ingest_source(arguments)
    from tracer.ingestion.ingest import ingest

    config = _config(arguments)
    out = arguments.out or config.out("ingest")
    return _done(ingest(config, out), out)


def _ingest_source(arguments: argparse.Namespace) -> int:
    from tracer.ingestion.assembly import ingest_source
    from tracer.ingestion.check import check
    from tracer.ingestion.parts import parsed_options

    if arguments.path is None:
        raise ConfigError("ingest SOURCE needs the PATH of the data set too")
    options = parsed_options(arguments.option)
    if arguments.check:
        found = check(arguments.source, arguments.path, options)
        print(*found.problems, sep="\n")
        return int(found.rejected > 0)
    out = arguments.out or Path("build/sources") / arguments.source
    progress = sys.stderr.isatty()
    lineage = ingest_source(
        arguments.source, arguments.path, out, options=options, workers=arguments.workers, progress=progress
    )
    return _done(lineage, out)


def _mix(arguments: argparse.Namespace) -> int:
    from tracer.ingestion.mixture import mix

    config = _config(arguments)
    out = arguments.out or config.out("mixture")
    return _done(mix(config.mixture, out), out)


def _validate(arguments: argparse.Namespace) -> int:
    from tracer.validation.validate import raise_on_failure, validate

    config = _config(arguments)
    out = arguments.out or config.out("validate")
    lineage = validate(config, config.out("ingest"), out)
    raise_on_failure(out)
    return _done(lineage, out)


# --- training -------------------------------------------------------------------------------------------------------


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train", help="train a planner: bootstrap, stage1 or stage2", description="Train a planner."
    )
    stages = train.add_subparsers(title="stages", required=True, metavar="STAGE")
    bootstrap = _command(stages, "bootstrap", "the tiny base planner, supervised, from raw episodes", _bootstrap)
    bootstrap.add_argument("--episodes", type=Path, required=True, help="what `tracer record` wrote")
    bootstrap.add_argument("--out", type=Path)
    for name, help in (("stage1", "trajectory RL from the base"), ("stage2", "grounded RL from stage 1")):
        stage = _command(stages, name, help, _train)
        stage.set_defaults(stage=name)
        stage.add_argument("--start", help="another planner to start from: a folder, or base, stage1, stage2")
        stage.add_argument("--out", type=Path)
        stage.add_argument("--dry-run", action="store_true", help="print what it would do and need; touch nothing")

    base = _command(commands, "base", "a base planner: from the hub at its pinned commit, or SmolLM2's weights", _base)
    base.add_argument("kind", choices=("hub", "smollm2"))
    base.add_argument("--out", type=Path, help="a folder (default: where the profile looks for it)")
    base.add_argument("--weights", type=Path, help="smollm2: a GGUF file (default: the package's)")
    base.add_argument("--episodes", type=Path, help="smollm2: raw episodes that teach it the grammar")

    gate = _command(commands, "gate", "check what a stage trained before the next one builds on it", _gate)
    gate.add_argument("stage", choices=STAGES)
    gate.add_argument("--out", type=Path)


def _gate(arguments: argparse.Namespace) -> int:
    from tracer.training import gates

    config, stage = _config(arguments), arguments.stage
    out = arguments.out or config.out(f"gate-{stage}")
    lineage = gates.gate(config, config.out(stage), model(config, BEFORE[stage]), config.out("ingest"), out)
    gates.require(out)
    return _done(lineage, out)


def _bootstrap(arguments: argparse.Namespace) -> int:
    from tracer.training import bootstrap

    config = _config(arguments)
    out = arguments.out or config.out("bootstrap")
    return _done(bootstrap.train(config, arguments.episodes, out), out)


def _train(arguments: argparse.Namespace) -> int:
    from tracer.training import preflight, processes, stage1, stage2

    config = _config(arguments)
    module = {"stage1": stage1, "stage2": stage2}[arguments.stage]
    out = arguments.out or config.out(arguments.stage)
    data, start = config.out("ingest"), model(config, arguments.start or BEFORE[arguments.stage])
    if arguments.dry_run:
        print(preflight.dry_run(config, arguments.stage, data, start, out), end="")
        return 0
    if processes.main():
        preflight.before_gpus(config, arguments.stage, data, start, out)
    lineage = module.train(config, data, start, out)
    return _done(lineage, out) if processes.main() else 0


def _base(arguments: argparse.Namespace) -> int:
    from tracer.planner import hub, smollm2

    if arguments.kind == "smollm2":
        arguments.profile = arguments.profile or "smollm2"
    config = _config(arguments)
    out = arguments.out or hub.folder(config)
    if arguments.kind == "hub":
        return _done(hub.fetch(config, out), out)
    return _done(smollm2.build(config, out, arguments.weights, arguments.episodes), out)


# --- evaluation -----------------------------------------------------------------------------------------------------


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="a planner: offline, online, or on a benchmark")
    kinds = evaluate.add_subparsers(title="on what", required=True, metavar="WHAT")
    for name, help in (("offline", "held-out states"), ("online", "the plan-act loop on MiniWoB++ in Chromium")):
        kind = _command(kinds, name, help, _evaluate)
        kind.set_defaults(benchmark=name)
        kind.add_argument("--model", default="stage2", help="base, stage1, stage2, or a folder")
        kind.add_argument("--out", type=Path)
    benchmarks.register(commands, kinds)

    report = _command(
        commands, "report", "one HTML page of results, curves and forecasts drawn on their screens", _report
    )
    report.add_argument("--out", type=Path)


def _evaluate(arguments: argparse.Namespace) -> int:
    from tracer.evaluation import offline, online

    config, name = _config(arguments), arguments.model
    kind = "evaluate" if arguments.benchmark == "offline" else "online"
    out = arguments.out or config.out(f"{kind}-{name if name in MODELS else Path(name).name}")
    if arguments.benchmark == "offline":
        return _done(offline.evaluate(config, config.out("ingest"), model(config, name), out), out)
    return _done(online.evaluate(config, model(config, name), out), out)


def _report(arguments: argparse.Namespace) -> int:
    from tracer.flow import report_folders
    from tracer.reporting.report import report

    config = _config(arguments)
    out = arguments.out or config.out("report")
    return _done(report(config, report_folders(config), out), out)


# --- registry -------------------------------------------------------------------------------------------------------


def _add_registry(commands: Any) -> None:
    _command(commands, "register", "register the planner of stage 2 in MLflow, as challenger", _register)
    promote = _command(commands, "promote", "make the challenger champion if it passes the promotion policy", _promote)
    promote.add_argument("--again", action="store_true", help="decide anew on what was decided, or rolled back, before")
    rollback = _command(commands, "rollback", "make the previous champion champion again", _rollback)
    rollback.add_argument("--reason", required=True, help="why, for the record")
    _command(commands, "history", "every promotion decision, oldest first", _history)
    lineage = _command(commands, "lineage", "everything that made a registered model, and how to rebuild it", _lineage)
    lineage.add_argument("model", nargs="?", default="tracer-planner@champion")


def _register(arguments: argparse.Namespace) -> int:
    from tracer import flow, registry

    config = _config(arguments)
    version = registry.register(config, config.out("stage2"), flow.registered(config))
    print(f"{version.uri}, {registry.CHALLENGER}")
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    from tracer import flow
    from tracer.registry import promotion

    config = _config(arguments)
    decision = promotion.promote(config, flow.incumbent(config), config.out("ingest"), again=arguments.again)
    print(promotion.describe(decision))
    return 0 if decision.promoted else 1


def _rollback(arguments: argparse.Namespace) -> int:
    from tracer.registry import promotion

    print(promotion.describe(promotion.rollback(_config(arguments).registry, arguments.reason)))
    return 0


def _history(arguments: argparse.Namespace) -> int:
    from tracer.registry import promotion

    for decision in promotion.history(_config(arguments).registry):
        print(promotion.describe(decision))
    return 0


def _lineage(arguments: argparse.Namespace) -> int:
    from tracer import registry

    found = registry.lineage_of(arguments.model, _config(arguments).registry)
    print(f"{found.version.uri}")
    for step, lineage in found.steps.items():
        print(f"  {step}: output {lineage['output'][:12]}, digest {lineage['digest'][:12]}")
    print("to rebuild it, from a clone of the repository:", *found.commands, sep="\n  ")
    return 0


# --- research -------------------------------------------------------------------------------------------------------


def _add_research(commands: Any) -> None:
    bench = _command(commands, "bench", "seconds and tokens of a training step, beside a bare TRL script", _bench)
    bench.add_argument("--steps", type=int, default=20)
    bench.add_argument("--seeds", type=int, default=1)
    bench.add_argument("--out", type=Path, default=Path("docs/bench"))
    bench.add_argument("--check", action="store_true", help="compare with what is recorded; record nothing")
    bench.add_argument("--tolerance", type=float, default=0.25)
    ablate = _command(commands, "ablate", "the paper's ablations, and ours", _ablate)
    ablate.add_argument("--seeds", type=int, default=3)
    ablate.add_argument("--only", nargs="+", default=[], metavar="VARIANT")
    ablate.add_argument("--out", type=Path, default=Path("docs/ablations"))


def _bench(arguments: argparse.Namespace) -> int:
    from tracer.experiments import bench, bench_page

    config, out = _config(arguments), arguments.out
    result = bench.bench(
        config,
        model(config, "base"),
        config.out("ingest"),
        config.folder / "bench",
        steps=arguments.steps,
        seeds=arguments.seeds,
    )
    problems = bench.check(result, out, arguments.tolerance)
    if not arguments.check:
        bench.record(result, out)
        bench_page.write_page(out, out.parent / "speed.md")
    print(json.dumps({"speedup": result["speedup"], "reward_share": result["reward_share"]}, indent=2))
    for problem in problems:
        print(f"tracer: {problem}", file=sys.stderr)
    return int(bool(problems))


def _ablate(arguments: argparse.Namespace) -> int:
    from tracer.experiments import ablation, ablation_page

    profile = _config(arguments).profile
    told = ablation.ablate(profile, seeds=arguments.seeds, only=arguments.only, overrides=arguments.overrides)
    ablation.record(told, profile, arguments.seeds, arguments.overrides, arguments.out)
    ablation_page.write_page(arguments.out, arguments.out.parent / "ablations.md")
    for each in told:
        print(each["name"], each["verdict"])
    return 0


# --- looking at it --------------------------------------------------------------------------------------------------


def _add_look(commands: Any) -> None:
    run = _command(commands, "run", "the whole chain, one step after the other, without Dagster", _run)
    run.set_defaults(handler=_run)
    _command(commands, "demo", "the whole chain through Dagster, then the results table", _demo)
    reward = _command(commands, "reward", "why a forecast earns what it earns, term by term", _reward)
    reward.add_argument("--predicted", type=Path, required=True, help="one JSON object a line (the literal grammar)")
    reward.add_argument("--reference", type=Path, required=True, help="the same, or a folder of trajectories")
    reward.add_argument("--trajectory", help="which one of the folder")
    reward.add_argument("--step", type=int, default=0, help="from which of its steps on, from 0")
    _command(commands, "doctor", "check this machine and installation", _doctor, profile=False)
    forecast = _command(commands, "forecast", "forecast from a held-out state, beside what was really done", _forecast)
    forecast.add_argument("model", nargs="?", default="stage2", help="base, stage1, stage2, a folder, or name@alias")
    forecast.add_argument("--trajectory", help="a trajectory id (default: the first held-out one)")
    forecast.add_argument("--step", type=int, default=0)
    forecast.add_argument("--draw", type=Path, help="write the forecast drawn on the screenshot to this PNG")


def _run(arguments: argparse.Namespace) -> int:
    from tracer import flow
    from tracer.reporting.tables import results_table

    config = _config(arguments)
    flow.run(config)
    print(results_table(flow.report_folders(config)))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from pipelines.demo import demo

    return demo(_config(arguments))


def _reward(arguments: argparse.Namespace) -> int:
    from tracer.explain import explain_files

    config = _config(arguments)
    print(explain_files(arguments.predicted, arguments.reference, config, arguments.trajectory, arguments.step), end="")
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from tracer.doctor import doctor

    findings = doctor()
    for finding in findings:
        print(
            f"{'ok  ' if finding.ok else 'FAIL'} {finding.name}: {finding.detail}"
            + ("" if finding.ok else f"\n     -> {finding.mend}")
        )
    return 0 if all(finding.ok for finding in findings) else 1


def _forecast(arguments: argparse.Namespace) -> int:
    from tracer import planner
    from tracer.dataset import read
    from tracer.forecast import reference
    from tracer.trajectory import state_at

    config = _config(arguments)
    for trajectory in read(config.out("ingest"), split=None if arguments.trajectory else "heldout"):
        if arguments.trajectory in (None, trajectory.id):
            break
    else:
        raise LineageError(f"{config.out('ingest')} has no trajectory {arguments.trajectory!r}")
    if arguments.step >= len(trajectory.steps):
        raise LineageError(f"{trajectory.id} has {len(trajectory.steps)} steps; --step counts from 0")
    state = state_at(trajectory, arguments.step)
    where = model(config, arguments.model) if "@" not in arguments.model else arguments.model
    plan = planner.load(where).forecast([state], config.planner.horizon)[0]
    expected = reference(trajectory, arguments.step, config.planner.horizon)
    print(f"{trajectory.id}, step {arguments.step}\ngoal: {state.goal}\n\nforecast:")
    for number, step in enumerate(plan.forecast or (), start=1):
        print(f"  {number}. {step.instruction}")
    print(f"  (unparsable: {plan.error})" if plan.forecast is None else "", "\nreally done:", sep="")
    for number, step in enumerate(expected, start=1):
        print(f"  {number}. {step.instruction}")
    if arguments.draw:
        from tracer.reporting.draw import draw

        arguments.draw.write_bytes(draw(state, plan.forecast or (), expected))
        print(f"\ndrawn: {arguments.draw}")
    return 0

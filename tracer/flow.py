"""The flow: every step, what it reads, and the one function that runs it.

    sources -> trajectories -> validated -> base planner -> stage 1 -> stage 2
            -> benchmarks -> report -> challenger -> champion

The steps are listed once, here, from the stages of ``tracer/stages.py``. The command line runs them,
``tracer/dvc_yaml.py`` writes them out for DVC, and pipelines/ declares them as Dagster's assets and checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tracer.config import Config
from tracer.lineage.digest import finished
from tracer.lineage.step import expected_digest
from tracer.planner import hub
from tracer.settings import ConfigError
from tracer.stages import BASE, MODELS, STAGES
from tracer.training.stage import Stage

RAW = "raw"
"""The raw episodes; with the base planner, what the flow takes from outside."""
Kind = Literal["ingest", "validate", "train", "gate", "offline", "online", "report", "register", "promote"]
Folders = Mapping[str, Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStep:
    """One step. Its name is also its output folder's."""

    name: str
    kind: Kind
    about: str
    command: str
    """The arguments of ``tracer`` that run this step alone."""
    reads: tuple[str, ...]
    """What has to be finished before it: steps, ``raw``, or a planner."""
    module: str
    """The module whose code, with all that it imports, counts into the step's digest."""
    make: Callable[[Config, Folders, Path], Any]
    """Fills the output folder, given the folders of ``reads``; returns the lineage, or the registry's answer."""
    require: Callable[[Path], None] | None = None
    """Raises if the output says that nothing may build on it."""
    recipe: Callable[[Config, Folders], dict[str, Any]] | None = None
    """What its digest is made of, as ``lineage.step.expected_digest`` takes it."""
    planner: str = ""
    """The planner that the step trains, checks or evaluates."""
    receipt: str = ""
    """The file that the step leaves in place of a folder."""
    scores: str = ""
    """The file in its folder with its headline numbers."""

    def out(self, config: Config) -> Path:
        """Where its output lies."""
        return config.out(self.receipt or self.name)

    def folders(self, config: Config, given: Folders | None = None) -> dict[str, Path]:
        """Where each of ``reads`` lies; ``given`` replaces some of the flow's own folders."""
        given = given or {}
        return {name: given[name] if name in given else folder(config, name) for name in self.reads}

    def run(self, config: Config, out: Path | None = None, given: Folders | None = None) -> Any:
        """Run the step, or find it finished; returns what ``make`` returns, raises what ``require`` raises."""
        out = out or self.out(config)
        made = self.make(config, self.folders(config, given), out)
        if self.require is not None:
            self.require(out)
        return made

    def current(self, config: Config) -> dict[str, Any] | None:
        """The lineage of its finished folder if running it would only find that; None where it has to run."""
        folders, done = self.folders(config), finished(self.out(config))
        if done is None or self.recipe is None or not all(path.exists() for path in folders.values()):
            return None
        return done if done["digest"] == expected_digest(**self.recipe(config, folders)) else None


def _steps() -> Iterator[FlowStep]:
    """Every step, in an order in which they can run."""
    yield FlowStep(
        name="ingest",
        kind="ingest",
        about="raw episodes into canonical shards",
        command="ingest",
        reads=(RAW,),
        module="tracer.ingestion.ingest",
        make=_ingest,
    )
    yield FlowStep(
        name="validate",
        kind="validate",
        about="Great Expectations over the shards; fails if the data does",
        command="validate",
        reads=("ingest", BASE),
        module="tracer.validation.validate",
        make=_validate,
        require=_valid,
    )
    for stage in STAGES:
        yield train(stage)
        yield gate(stage)
    evaluations = [evaluate(planner) for planner in MODELS for evaluate in (offline, online)]
    yield from evaluations
    yield FlowStep(
        name="report",
        kind="report",
        about="one HTML page: the table of results, reward curves, and forecasts drawn on their screens",
        command="report",
        reads=("ingest", "validate", *(name for stage in STAGES for name in (stage.name, stage.gate)),
               *(step.name for step in evaluations)),
        module="tracer.reporting.report",
        make=_report,
    )  # fmt: skip
    last = STAGES[-1]
    yield FlowStep(
        name="register",
        kind="register",
        about="a version of the registered model, as challenger; the file is the receipt",
        command="register",
        reads=(last.name, *_evaluations(last.name).values(), "validate", last.gate),
        module="tracer.registry.versions",
        make=_register,
        planner=last.name,
        receipt="registered.json",
    )
    yield FlowStep(
        name="promote",
        kind="promote",
        about="the decision on the challenger; a refusal is a result",
        command="promote",
        reads=("register", "ingest", *_evaluations(BASE).values()),
        module="tracer.registry.promotion",
        make=promote,
        planner=BASE,
        receipt="decision.json",
    )


def train(stage: Stage) -> FlowStep:
    """The training of a stage; on a machine with GPUs its data is checked first."""

    def make(config: Config, folders: Folders, out: Path) -> dict[str, Any]:
        from tracer.training import preflight, processes

        data, start = folders["ingest"], folders[stage.start]
        if processes.main():
            preflight.before_gpus(config, stage, data, start, out)
        return stage.train(config, data, start, out)

    return FlowStep(
        name=stage.name,
        kind="train",
        about=stage.about,
        command=f"train {stage.name}",
        reads=("ingest", *_ready(stage.start)),
        module=stage.module,
        make=make,
        recipe=lambda config, folders: stage.recipe(config, folders["ingest"], folders[stage.start]),
        planner=stage.name,
    )


def gate(stage: Stage) -> FlowStep:
    """What has to hold of a trained stage before anything builds on it."""

    def make(config: Config, folders: Folders, out: Path) -> dict[str, Any]:
        from tracer.training import gates

        return gates.gate(config, stage, folders[stage.name], folders[stage.start], folders["ingest"], out)

    def require(out: Path) -> None:
        from tracer.training import gates

        gates.require(out)

    return FlowStep(
        name=stage.gate,
        kind="gate",
        about=f"what {stage.title} trained, before anything builds on it",
        command=f"gate {stage.name}",
        reads=("ingest", stage.start, stage.name),
        module="tracer.training.gates",
        make=make,
        require=require,
        planner=stage.name,
        scores="gate.json",
    )


def offline(planner: str) -> FlowStep:
    """The evaluation of any planner on held-out states."""

    def make(config: Config, folders: Folders, out: Path) -> dict[str, Any]:
        from tracer.evaluation import offline

        return offline.evaluate(config, folders["ingest"], folders[planner], out)

    return FlowStep(
        name=f"evaluate-{label(planner)}",
        kind="offline",
        about=f"{planner} on held-out states: step success, forecast similarity, correct prefix, repetition",
        command=f"evaluate offline --model {planner}",
        reads=("ingest", *_ready(planner)),
        module="tracer.evaluation.offline",
        make=make,
        planner=planner,
        scores="scores.json",
    )


def online(planner: str) -> FlowStep:
    """The evaluation of any planner in the browser."""

    def make(config: Config, folders: Folders, out: Path) -> dict[str, Any]:
        from tracer.evaluation import online

        return online.evaluate(config, folders[planner], out)

    return FlowStep(
        name=f"online-{label(planner)}",
        kind="online",
        about=f"{planner} in Chromium: task success, forecasting anew each step, reacting, and planning once",
        command=f"evaluate online --model {planner}",
        reads=tuple(name for name in _ready(planner) if name != "validate"),
        module="tracer.evaluation.online",
        make=make,
        planner=planner,
        scores="scores.json",
    )


def _ready(planner: str) -> tuple[str, ...]:
    """A planner and what has to hold before it is used: its gate or, for the base, the data's validation."""
    if planner == BASE:
        return "validate", BASE
    return (planner, *(stage.gate for stage in STAGES if stage.name == planner))


def _evaluations(planner: str) -> dict[str, str]:
    """The steps that evaluate a planner, by the names that the registry and the promotion policy have for them."""
    return {"evaluate": offline(planner).name, "online": online(planner).name}


def _ingest(config: Config, folders: Folders, out: Path) -> dict[str, Any]:
    from tracer.ingestion.ingest import ingest

    return ingest(config, out)


def _validate(config: Config, folders: Folders, out: Path) -> dict[str, Any]:
    from tracer.validation.validate import validate

    return validate(config, folders["ingest"], folders[BASE], out)


def _valid(out: Path) -> None:
    from tracer.validation.validate import raise_on_failure

    raise_on_failure(out)


def _report(config: Config, folders: Folders, out: Path) -> dict[str, Any]:
    from tracer.reporting.report import report

    return report(config, _shown(folders), out)


def _shown(folders: Folders) -> dict[str, Path]:
    """The folders of the report, by the names that they have there."""
    evaluations = [step.name for evaluate in (offline, online) for step in map(evaluate, MODELS)]
    names = ["validate", *(stage.name for stage in STAGES), *evaluations]
    return {"trajectories": folders["ingest"], **{name: folders[name] for name in names}}


def _register(config: Config, folders: Folders, out: Path) -> Any:
    from tracer.registry import versions

    last = STAGES[-1]
    evaluations = {**_evaluations(last.name), "validate": "validate", "gate": last.gate}
    return versions.register(config, folders[last.name], {key: folders[name] for key, name in evaluations.items()})


def promote(config: Config, folders: Folders, out: Path, again: bool = False) -> Any:
    """Decide on the challenger, whom the base planner is held against as long as there is no champion."""
    from tracer.registry import promotion

    base = {key: folders[name] for key, name in _evaluations(BASE).items()}
    return promotion.promote(config, base, folders["ingest"], again=again)


def folder(config: Config, name: str) -> Path:
    """Where a step's output, the raw episodes or a planner lies; raises what ``model`` raises."""
    if name == RAW:
        return Path(config.data.path)
    found = next((step for step in STEPS if step.name == name), None)
    return model(config, name) if found is None else found.out(config)


def model(config: Config, name: str) -> Path:
    """The folder of a planner: ``base``, a stage, any folder, or a registered ``name@alias``, which is downloaded.

    Raises ``ConfigError`` for a name that is none of these, and ``RegistryError`` where nothing is registered so.
    """
    if name == BASE:
        return hub.folder(config)
    if name in MODELS:
        return config.out(name)
    if is_registered(name):
        from tracer.registry import versions

        return versions.weights(versions.download(name, config.registry))
    if not Path(name).exists():
        raise ConfigError(
            f"there is no planner {name!r}: give one of {', '.join(MODELS)}, a folder that exists, or a registered "
            f"model such as {config.registry.model}@champion"
        )
    return Path(name)


def benchmark(config: Config, name: str, protocol: str, planner: str, out: Path, **options: Any) -> dict[str, Any]:
    """Let any planner, or the scripts ``demonstrators``, answer a benchmark; ``options`` as ``scoring.evaluate`` has.

    Returns the lineage; raises what ``model`` and ``scoring.evaluate.evaluate`` raise.
    """
    from tracer.scoring.evaluate import DEMONSTRATORS, evaluate

    answering = planner if planner == DEMONSTRATORS else str(model(config, planner))
    return evaluate(config, name, protocol, answering, out, **options)


def is_registered(name: str) -> bool:
    """Whether a planner's name is that of a registered model (``name@alias``, ``models:/...``) and not a folder's."""
    return not Path(name).exists() and ("@" in name or name.startswith("models:/"))


def label(name: str) -> str:
    """A planner's name as part of a folder's name."""
    return Path(name).name.replace("@", "-")


def step(name: str) -> FlowStep:
    """The step of that name; raises ``StopIteration``."""
    return next(step for step in STEPS if step.name == name)


def of(kind: Kind) -> tuple[FlowStep, ...]:
    """The steps of a kind."""
    return tuple(step for step in STEPS if step.kind == kind)


def before(last: FlowStep) -> tuple[FlowStep, ...]:
    """The steps that have to be finished before ``last``, directly or not, in their order."""
    needed, todo = set(), list(last.reads)
    while todo:
        name = todo.pop()
        needed.add(name)
        todo += [read for step in STEPS if step.name == name for read in step.reads]
    return tuple(step for step in STEPS if step.name in needed)


def run(config: Config, say: Callable[[str], None] = print) -> Mapping[str, dict[str, Any]]:
    """Run every step up to the report; finished ones are found by their digest. Returns each step's lineage."""
    done: dict[str, dict[str, Any]] = {}
    for step in STEPS:
        if not step.receipt:
            done[step.name] = step.run(config)
            say(f"{step.name}: {done[step.name]['digest'][:12]}, {done[step.name]['seconds']} s")
    return done


def report_folders(config: Config) -> dict[str, Path]:
    """Every folder that the report shows, by the name that it has there."""
    return _shown(step("report").folders(config))


STEPS = tuple(_steps())

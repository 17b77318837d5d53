"""The flow: every step, what it reads, and the one function that runs it.

    sources -> trajectories -> validated -> base planner -> stage 1 -> stage 2
            -> benchmarks -> report -> challenger -> champion

The steps are listed once, here, from the stages of ``tracer/stages.py``. The command line runs them,
``tracer/dvc_yaml.py`` writes them out for DVC, and pipelines/ declares them as Dagster's assets and checks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tracer.config import Config
from tracer.evaluation import offline, online
from tracer.ingestion import ingest
from tracer.json_files import write_json
from tracer.lineage import why
from tracer.lineage.digest import LineageError, MissingInput, begun, finished
from tracer.lineage.step import reused
from tracer.planner import address, hub
from tracer.planner.lora import model_folder
from tracer.registry import live, promotion, register, start, versions
from tracer.registry.record import DECISION, Decision
from tracer.reporting import report
from tracer.scoring import evaluate as scoring
from tracer.settings import ConfigError
from tracer.stages import BASE, MODELS, STAGES
from tracer.training import gates, preflight, processes
from tracer.training.stage import Stage
from tracer.validation import validate

log = logging.getLogger(__name__)
RAW = "raw"
"""The raw episodes; with the base planner, what the flow takes from outside."""
Kind = Literal["ingest", "validate", "train", "gate", "offline", "online", "report", "register", "promote"]
Folders = Mapping[str, Path]
NAMES = {"train": "{}", "gate": "gate-{}", "offline": "evaluate-{}", "online": "online-{}"}
"""The names of the steps that there are several of, by kind; other steps are named like their kind."""
COMMANDS = {
    "train": "train {}",
    "gate": "gate {}",
    "offline": "evaluate offline --model {}",
    "online": "evaluate online --model {}",
    "promote": "promote --or-refuse",
}


def label(name: str) -> str:
    """A planner's name as part of a folder's name."""
    return address.label(name) if address.is_served(name) else Path(name).name.replace("@", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStep:
    """One step of the flow."""

    kind: Kind
    planner: str = ""
    """The planner that the step trains, checks or evaluates."""
    about: str
    reads: tuple[str, ...]
    """What has to be finished before it: steps, ``raw``, or a planner."""
    module: str
    """The module whose code, with all that it imports, counts into the step's digest."""
    make: Callable[[Config, Folders, Path], Any]
    """Fills the output folder, given the folders of ``reads``; returns the lineage, or the registry's answer."""
    require: Callable[[Path], None] = lambda out: None
    """Raises if the output says that nothing may build on it."""
    recipe: Callable[[Config, Folders], dict[str, Any]] | None = None
    """What its digest is made of, as ``lineage.step.expected_digest`` takes it."""
    receipt: str = ""
    """The file that the step leaves in place of a folder."""
    headline: bool = False
    """Whether its headline metrics are what a run is compared by."""

    @property
    def name(self) -> str:
        """The step's name, which is also its folder's."""
        return NAMES.get(self.kind, self.kind).format(label(self.planner))

    @property
    def command(self) -> str:
        """The arguments of ``tracer`` that run this step alone."""
        return COMMANDS.get(self.kind, self.kind).format(self.planner)

    def out(self, config: Config) -> Path:
        """Where its output is."""
        return config.out(self.receipt or self.name)

    def folders(self, config: Config, given: Folders | None = None) -> dict[str, Path]:
        """Where each of ``reads`` is; ``given`` replaces some of the flow's own folders."""
        given = given or {}
        return {name: given[name] if name in given else folder(config, name) for name in self.reads}

    def run(self, config: Config, out: Path | None = None, given: Folders | None = None) -> Any:
        """Run the step, or find it finished; returns what ``make`` returns, raises what ``require`` raises."""
        out = out or self.out(config)
        made = self.produce(config, out, given)
        self.require(out)
        return made

    def produce(self, config: Config, out: Path, given: Folders | None = None) -> Any:
        """``run``, whether or not something may build on the output."""
        if self.kind != "ingest":
            config = start.begin(config)
        if BASE in self.reads:
            start.ready(config)
        made = self.make(config, self.folders(config, given), out)
        if self.kind == "ingest":
            start.begin(config)
        return made

    def made(self, config: Config) -> bool:
        """Whether its output is there, up to date or not."""
        return self.out(config).is_file() if self.receipt else finished(self.out(config)) is not None

    def current(self, config: Config) -> dict[str, Any] | None:
        """The lineage of its folder if that is up to date; None if the step has to run."""
        return finished(self.out(config)) if self.state(config)[0] == why.UP_TO_DATE else None

    def state(self, config: Config) -> tuple[str, list[str]]:
        """Whether its finished folder is up to date, and if not, why it would run (``lineage.why``)."""
        if self.recipe is None:
            shows = f"`{config.command('history')}` shows what the registry decided"
            raise ConfigError(f"{self.name} leaves no folder: {shows}")
        config = start.resolved(config)
        folders = self.folders(config)
        elsewhere = start.elsewhere(config) if BASE in self.reads else ""
        if elsewhere:
            return why.STALE if self.made(config) else why.MISSING, [elsewhere]
        missing = [name for name, path in folders.items() if not path.exists()]
        if missing:
            first = {RAW: f"the data {config.data.path} does not exist", BASE: hub.absent(config)}
            return why.MISSING, [first.get(name, f"{name} comes first") for name in missing]
        try:
            return why.state_of(self.out(config), self.recipe(config, folders))
        except LineageError as error:
            return why.UNFINISHED, [str(error)]


def _train(stage: Stage) -> FlowStep:
    def make(config: Config, at: Folders, out: Path) -> dict[str, Any]:
        if processes.main():
            preflight.before_training(config, stage, at["ingest"], at[stage.start], out)
        return stage.train(config, at["ingest"], at[stage.start], out, partial(live.watched, config, stage))

    return FlowStep(
        kind="train",
        planner=stage.name,
        about=stage.about,
        reads=("ingest", *with_gate(stage.start)),
        module=stage.module,
        make=make,
        recipe=lambda config, at: stage.recipe(config, at["ingest"], at[stage.start]),
    )


def _gate(stage: Stage) -> FlowStep:
    return FlowStep(
        kind="gate",
        planner=stage.name,
        about=f"what {stage.title} trained, before anything builds on it",
        reads=("ingest", stage.start, stage.name),
        module=gates.__name__,
        make=lambda config, at, out: gates.gate(config, stage, at[stage.name], at[stage.start], at["ingest"], out),
        require=gates.require,
        recipe=lambda config, at: gates.recipe(config, stage, at[stage.name], at[stage.start], at["ingest"]),
        headline=True,
    )


def evaluation(kind: Literal["offline", "online"], planner: str) -> FlowStep:
    """The evaluation of any planner on held-out states (``offline``), or in the browser (``online``)."""
    ready = with_gate(planner)
    if kind == "offline":
        return FlowStep(
            kind=kind,
            planner=planner,
            about=f"{planner} on held-out states: step success, forecast similarity, correct prefix, repetition",
            reads=("ingest", *ready),
            module=offline.__name__,
            make=lambda config, at, out: offline.evaluate(config, at["ingest"], at[planner], out),
            recipe=lambda config, at: offline.recipe(config, at["ingest"], at[planner]),
            headline=True,
        )
    return FlowStep(
        kind=kind,
        planner=planner,
        about=f"{planner} in Chromium: the task success of each agent that plays it, and what it costs",
        reads=("ingest", *(name for name in ready if name != "validate")),
        module=online.__name__,
        make=lambda config, at, out: online.evaluate(online.playing(config, planner), at[planner], out, at["ingest"]),
        recipe=lambda config, at: online.recipe(online.playing(config, planner), at[planner], at["ingest"]),
        headline=True,
    )


def with_gate(planner: str) -> tuple[str, ...]:
    """A planner and what has to hold before it is used: its gate or, for the base, the data's validation."""
    if planner == BASE:
        return "validate", BASE
    return (planner, *(stage.gate for stage in STAGES if stage.name == planner))


def _shown(at: Folders) -> dict[str, Path]:
    """The folders of the report, by the names that they have there."""
    evaluations = [step.name for kind in ("offline", "online") for step in EVALUATIONS if step.kind == kind]
    names = ["validate", *(stage.name for stage in STAGES), *evaluations]
    return {"trajectories": at["ingest"], **{name: at[name] for name in names}}


def _scored(planner: str) -> dict[str, str]:
    """A planner's evaluations, by the names that the registry and its policy have for them."""
    return {"evaluate": evaluation("offline", planner).name, "online": evaluation("online", planner).name}


def _register(config: Config, at: Folders, out: Path) -> versions.Version | None:
    if _unregistered(config, out):
        return None
    names = {**_scored(LAST.name), "validate": "validate", "gate": LAST.gate}
    version = register.register(config, at[LAST.name], {key: at[name] for key, name in names.items()})
    register.attach_report(config, config.out("report"))
    return version


def promote(config: Config, at: Folders, out: Path, again: bool = False, reason: str = "") -> Decision | None:
    """Decide on the challenger, whom the base planner is compared with as long as there is no champion.

    None for a profile that does not register.
    """
    if _unregistered(config, out):
        return None
    base = {key: at[name] for key, name in _scored(BASE).items()}
    return promotion.promote(config, base, at["ingest"], again=again, reason=reason)


def unregistered(config: Config) -> str:
    """Why a profile registers nothing; empty where it does."""
    why = f"profile {config.profile} does not register: registry.enabled is false"
    return "" if config.registry.enabled else f"{why} (--set registry.enabled=true)"


def _unregistered(config: Config, receipt: Path) -> bool:
    if unregistered(config):
        write_json(receipt, {"skipped": unregistered(config)})
    return bool(unregistered(config))


LAST = STAGES[-1]
"""The stage whose planner is registered."""
TRAINING = tuple(step for stage in STAGES for step in (_train(stage), _gate(stage)))
EVALUATIONS = tuple(evaluation(kind, planner) for planner in MODELS for kind in ("offline", "online"))
STEPS = (
    FlowStep(
        kind="ingest",
        about="raw episodes into canonical shards",
        reads=(RAW,),
        module=ingest.__name__,
        make=lambda config, at, out: ingest.ingest(config, out),
        recipe=lambda config, at: ingest.recipe(config),
    ),
    FlowStep(
        kind="validate",
        about="Great Expectations over the shards; fails if the data does",
        reads=("ingest", BASE),
        module=validate.__name__,
        make=lambda config, at, out: validate.validate(config, at["ingest"], at[BASE], out),
        require=validate.raise_on_failure,
        recipe=lambda config, at: validate.recipe(config, at["ingest"], at[BASE]),
    ),
    *TRAINING,
    *EVALUATIONS,
    FlowStep(
        kind="report",
        about="one HTML page: the table of results, reward curves, and forecasts drawn on their screens",
        reads=("ingest", "validate", *(step.name for step in (*TRAINING, *EVALUATIONS))),
        module=report.__name__,
        make=lambda config, at, out: report.report(config, _shown(at), out),
        recipe=lambda config, at: report.recipe(config, _shown(at)),
    ),
    FlowStep(
        kind="register",
        planner=LAST.name,
        about="a version of the registered model, as challenger; the file is the receipt",
        reads=(LAST.name, *_scored(LAST.name).values(), "validate", LAST.gate),
        module=register.__name__,
        make=_register,
        receipt=register.RECEIPT,
    ),
    FlowStep(
        kind="promote",
        about="the decision on the challenger; a refusal is a result",
        reads=("register", "ingest", *_scored(BASE).values()),
        module=promotion.__name__,
        make=promote,
        receipt=DECISION,
    ),
)
"""Every step, in an order in which they can run."""


def step(name: str) -> FlowStep:
    """The step of that name; raises ``ConfigError`` for an unknown one."""
    found = next((step for step in STEPS if step.name == name), None)
    if found is None:
        raise ConfigError(f"there is no step {name!r}; the steps are {', '.join(step.name for step in STEPS)}")
    return found


def of(kind: Kind) -> tuple[FlowStep, ...]:
    """The steps of a kind."""
    return tuple(step for step in STEPS if step.kind == kind)


def before(last: FlowStep) -> list[FlowStep]:
    """The steps that have to be finished before ``last``, directly or not, in their order."""
    needed = set(last.reads)
    for step in reversed(STEPS):
        if step.name in needed:
            needed |= set(step.reads)
    return [step for step in STEPS if step.name in needed]


def run_before(last: FlowStep, config: Config, given: Folders) -> None:
    """Run all that has to be finished before a step, but for what is ``given`` from elsewhere."""
    for each in before(last):
        if each.name not in given:
            each.run(config, given=given)


def status(config: Config) -> dict[str, tuple[str, list[str]]]:
    """The state of every step that leaves a folder, and the reasons, before anything runs.

    A step behind one that would run will run too, unless that one's output turns out to be the same.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for step in STEPS:
        if step.receipt:
            continue
        state, reasons = step.state(config)
        behind = [name for name in step.reads if name in found and found[name][0] != why.UP_TO_DATE]
        if state == why.UP_TO_DATE and behind:
            state, reasons = why.STALE, [f"{', '.join(behind)} would run first"]
        found[step.name] = state, reasons
    return found


def run(config: Config, say: Callable[[str], None] = print) -> Mapping[str, dict[str, Any]]:
    """Run every step up to the report; finished ones are found by their digest. Returns each step's lineage."""
    _require_base(config, STEPS)
    done: dict[str, dict[str, Any]] = {}
    for step in STEPS:
        if not step.receipt:
            since = datetime.now(UTC)
            made = done[step.name] = step.run(config)
            took = f"reused; it took {made['seconds']} s" if reused(made, since) else f"{made['seconds']} s"
            say(f"{step.name}: {made['digest'][:12]}, {took}")
    return done


def prepare(config: Config, step: FlowStep, given: Collection[str] = ()) -> None:
    """Run what has to be finished before a step and was never made, except for what is ``given`` from elsewhere.

    What is there stays, up to date or not: ``status`` tells. The registry's steps train nothing by the way. Raises
    ``ConfigError`` for one that comes too early, and what the steps raise.
    """
    if step.receipt and unregistered(config):
        return
    missing = [each for each in STEPS if each.name in step.reads and each.name not in given and not each.made(config)]
    if missing and step.receipt:
        names = ", ".join(each.name for each in missing)
        command = "register" if missing[-1].receipt else "run"
        raise ConfigError(f"{step.name} comes after {names}, not made yet: `{config.command(command)}` comes first")
    _require_base(config, [each for each in (*before(step), step) if not each.made(config)], given)
    for each in missing:
        prepare(config, each, given)
        log.info("making %s first: %s", each.name, config.command(each.command))
        each.run(config)


def _require_base(config: Config, steps: Collection[FlowStep], given: Collection[str] = ()) -> None:
    """Raise ``MissingInput`` before any work if the base planner is not finished; validation alone needs none."""
    needed = BASE not in given and any(BASE in each.reads for each in steps if each.kind != "validate")
    if needed and start.resolved(config).retrain.from_ == BASE:
        base = hub.folder(config)
        if not base.exists() or begun(base):
            raise MissingInput(hub.absent(config))


def report_folders(config: Config) -> dict[str, Path]:
    """Every folder that the report shows, by the name that it has there."""
    return _shown(step("report").folders(config))


def folder(config: Config, name: str) -> Path:
    """Where a step's output, the raw episodes or a planner is; raises what ``model`` raises."""
    if name == RAW:
        return Path(config.data.path)
    found = next((step for step in STEPS if step.name == name), None)
    return model(config, name) if found is None else found.out(config)


def model(config: Config, name: str) -> Path:
    """The folder of a planner: ``base``, a stage, any folder, a served one, or a registered ``name@alias``, downloaded.

    Raises ``ConfigError`` for a name that is none of these or a folder without a planner, and ``RegistryError`` where
    nothing is registered so.
    """
    if name == BASE:
        return start.folder(config)
    if name in MODELS:
        return config.out(name)
    if address.is_served(name):
        return address.folder(name, config.planner, config.out(BASE).parent)
    if is_registered(name):
        return versions.model(name, config.registry)
    if not Path(name).exists():
        raise ConfigError(
            f"there is no planner {name!r}: give one of {', '.join(MODELS)}, a folder that exists, a registered "
            f"model such as {config.registry.model}@champion, or a server's as openai:http://HOST:PORT/v1#MODEL"
        )
    model_folder(Path(name))
    return Path(name)


def trained(config: Config, name: str) -> Path:
    """The folder of a planner that is there: as ``model``, but a stage that has not run raises ``ConfigError``."""
    found = model(config, name)
    if name in MODELS and name != BASE and finished(found) is None:
        raise ConfigError(f"{found} holds no finished {name}: `{config.command(f'train {name}')}` comes first")
    return found


def is_registered(name: str) -> bool:
    """Whether a planner's name is that of a registered model (``name@alias``, ``models:/...``) and not a folder's."""
    return not Path(name).exists() and not address.is_served(name) and ("@" in name or name.startswith("models:/"))


def benchmark_folder(config: Config, name: str, *distinguished: str) -> Path:
    """Where a benchmark's score is; ``distinguished`` by the protocol and the planner where there are several."""
    return config.out("-".join(["benchmark", name, *map(label, distinguished)]))


def benchmark(config: Config, name: str, protocol: str, planner: str, out: Path, **options: Any) -> dict[str, Any]:
    """Let any planner, or the scripts ``demonstrators``, answer a benchmark; ``options`` as ``scoring.evaluate`` has.

    Returns the lineage; raises what ``model`` and ``scoring.evaluate.evaluate`` raise.
    """
    answering = planner if planner == scoring.DEMONSTRATORS else str(trained(config, planner))
    return scoring.evaluate(config, name, protocol, answering, out, **options)

"""The record of a stage of training: all that distinguishes one stage from another, and what its result depends on.

``tracer/stages.py`` lists the stages. Everything that treats them alike (the steps, dvc.yaml, Dagster's assets, the
report, the registry, the command line) reads these records, and names no stage itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tracer import tools
from tracer.config import Config
from tracer.examples import Example
from tracer.training import processes, replay
from tracer.training.score import Objective, Score
from tracer.training.settings import GrpoConfig

Training = Callable[[Path], Mapping[str, Any]]
"""Trains into a folder, which has what it was started with; returns the headline metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """That a stage is better than another planner in ``metric``, a field of an evaluation's rows."""

    metric: str
    text: str
    """The same as a sentence, for the report."""
    online: bool = False
    """Whether the metric is of the evaluation in the browser."""
    over: str = ""
    """The other planner; by default what the stage starts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of training. Its name is also its step, its output folder and its section of the configuration."""

    name: str
    title: str
    """As tables and charts show it."""
    about: str
    """What it is, in one line, for descriptions and help texts."""
    start: str
    """The planner it starts from: ``base``, or the name of an earlier stage."""
    judges: tuple[str, ...]
    """The sections of the configuration that its reward reads, besides ``planner`` and its own."""
    parts: Callable[[Config], tuple[str, ...]]
    """The names of the reward's parts."""
    scorer: Callable[[Config], Score]
    """Makes the reward of an answer, in ``parts``."""
    reads: Callable[[Config], int] = lambda config: config.planner.horizon
    """How many steps of a forecast its reward depends on."""
    counts: Callable[[Config, Sequence[Example]], dict[str, int]] = lambda config, states: {}
    """What is to be said of the states that it trained on, by name."""
    promises: tuple[Promise, ...] = ()

    def options(self, config: Config) -> GrpoConfig:
        """Its section of the configuration."""
        options: GrpoConfig = getattr(config, self.name)
        return options

    def objective(self, config: Config) -> Objective:
        """What it trains for."""
        return Objective(
            name=self.name,
            options=self.options(config),
            parts=self.parts(config),
            score=self.scorer(config),
            reads=self.reads(config),
            together=tools.together(config.grounding) if "grounding" in self.judges else 1,
            counts=partial(self.counts, config),
        )

    @property
    def gate(self) -> str:
        """The step that checks it before anything builds on it."""
        return f"gate-{self.name}"

    @property
    def module(self) -> str:
        """The module that defines it: its code, and all that it imports, counts into the digest."""
        return self.scorer.__module__

    def plugins(self, config: Config) -> list[str]:
        """The modules of the plugins that its reward uses."""
        return tools.plugins_of(config.grounding) if "grounding" in self.judges else []

    def rules(self, config: Config) -> dict[str, Any]:
        """The sections that its reward reads, as a digest takes them, and the tools that it executes."""
        executed = tools.identities(config.grounding) if "grounding" in self.judges else {}
        return {**{name: getattr(config, name).model_dump() for name in self.judges}, **executed}

    def recipe(self, config: Config, trajectories: Path, start: Path) -> dict[str, Any]:
        """What its digest is made of, as ``lineage.run_step`` and ``lineage.expected_digest`` take it."""
        options, limits = self.options(config), config.budget.model_dump(exclude_defaults=True)
        known = replay.known_by(config)
        return {
            "name": self.name,
            "config": {
                "planner": config.planner.model_dump(exclude={"base", "revision", "max_prompt_tokens"}),
                **self.rules(config),
                self.name: options.model_dump(),
                # Each process samples from a stream of random numbers of its own, or all of them from one.
                "processes": config.launch.processes if options.sampling == "stream" else 1,
                # Another budget may end elsewhere; none ends nowhere, and is no part of the digest.
                **({"budget": limits} if limits else {}),
                **({"replay": config.retrain.replay} if known else {}),
            },
            "inputs": {"trajectories": trajectories, self.start: start, **({"base": known} if known else {})},
            "module": self.module,
            "plugins": self.plugins(config),
            "seed": config.seed,
        }

    def train(
        self,
        config: Config,
        trajectories: Path,
        start: Path,
        out: Path,
        watched: Callable[[Training], Training] = lambda training: training,
    ) -> dict[str, Any]:
        """Train the planner in ``start`` on the trajectories into ``out``; return the lineage.

        ``watched`` makes of the training, if it has to run at all, one that somebody can follow.
        """

        def body(folder: Path) -> dict[str, Any]:
            from tracer.training import grpo  # torch is needed only where the stage is not finished

            return grpo.train(config, self.objective(config), trajectories, start, folder)

        return processes.run_step(out=out, body=watched(body), **self.recipe(config, trajectories, start))

"""The expectations that canonical data has to meet, as Great Expectations runs them.

Each names one thing that can be wrong, what is done about it, and whether it closes the gate (``error``) or is only
shown (``warning``). They are data, so that the list can be read, counted and shown without running it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tracer.action import COORDINATES, GRAMMAR
from tracer.config import Config
from tracer.trajectory import OUTCOMES, SPLITS
from tracer.validation.step_table import SIDES

MAX_SIDE = 32_768  # pixels
TOLERANCE = 1e-6  # of the screen: what float arithmetic on a box's edge may lose
AGAIN = "run the step `ingest` again"
SOURCE = "correct the record in the source, or its adapter, and " + AGAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One expectation, of the class ``kind`` of ``great_expectations.expectations``."""

    name: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    fix: str = SOURCE
    severity: Literal["error", "warning"] = "error"
    table: Literal["steps", "records"] = "steps"
    """``steps`` is the table of ``step_table``, ``records`` has one row per record read, ingested or rejected."""

    @property
    def columns(self) -> list[str]:
        """The columns it looks at."""
        named = [self.arguments[key] for key in ("column", "column_A", "column_B") if key in self.arguments]
        return named or list(self.arguments.get("column_list", ()))


def expectations(config: Config, *, prompts: bool) -> list[Expectation]:
    """All of them; ``prompts`` says whether the length of prompts is known."""
    return [
        *_identity(),
        *_actions(),
        *_targets(),
        *_screens(config),
        *_splits(),
        *([_prompt(config)] if prompts else []),
        Expectation(
            name="few records are quarantined",
            kind="ExpectColumnMeanToBeBetween",
            arguments={"column": "rejected", "min_value": 0, "max_value": config.data.max_quarantined},
            fix="fix the records that quarantine.parquet names, or raise data.max_quarantined",
            table="records",
        ),
    ]


def _identity() -> list[Expectation]:
    return [
        _none("columns have the canonical types", "schema_problem", fix=AGAIN),
        *(_written(name) for name in ("trajectory_id", "source", "task", "goal", "instruction")),
        _among("outcomes are known", "outcome", OUTCOMES),
        Expectation(
            name="no step is there twice",
            kind="ExpectCompoundColumnsToBeUnique",
            arguments={"column_list": ["trajectory_id", "step"]},
            fix="give every trajectory an id of its own in its source, and " + AGAIN,
        ),
        _equal("steps are in order, without gaps", "step", "position"),
        _equal("trajectories have as many steps as they say", "steps", "found_steps"),
        _none("a trajectory keeps its goal, task, split and outcome", "varying_problem"),
        _none("nothing follows the end", "after_end_problem", severity="warning"),
    ]


def _actions() -> list[Expectation]:
    return [
        _among("action types are known", "action_type", GRAMMAR),
        _none("actions obey the grammar", "action_problem"),
        _equal("the action type is the action's", "action_type", "parsed_type"),
        *(_fraction(f"{name} lies on the screen", name) for name in COORDINATES),
        _none(
            "instructions lead to their element",
            "unlocatable_problem",
            severity="warning",
            fix="write instructions with tracer.instruction.describe; stage 2 cannot ground these steps",
        ),
    ]


def _targets() -> list[Expectation]:
    return [
        *(_fraction(f"the target's {side} side lies on the screen", f"target_{side}") for side in SIDES),
        _none("targets are boxes", "target_problem"),
        _between("clicks lie inside their target", "outside_target", None, TOLERANCE),
        _none("elements lie on the screen", "elements_problem"),
    ]


def _screens(config: Config) -> list[Expectation]:
    sizes = [
        _between(f"a picture's {name} is sensible", f"image_{name}", 1, MAX_SIDE) for name in ("width", "height")
    ]  # fmt: skip
    needed = Expectation(
        name="every step has a picture",
        kind="ExpectColumnValuesToBeInSet",
        arguments={"column": "has_image", "value_set": [True]},
        fix="add the screenshots to the source, or set planner.image to false for a planner without eyes",
    )
    return [
        _none("pictures decode", "image_problem"),
        *sizes,
        _equal("pictures have the stated width", "width", "image_width"),
        _equal("pictures have the stated height", "height", "image_height"),
        *([needed] if config.planner.image else []),
    ]


def _splits() -> list[Expectation]:
    def present(name: str, splits: tuple[str, ...], severity: Literal["error", "warning"]) -> Expectation:
        return Expectation(
            name=name,
            kind="ExpectColumnDistinctValuesToContainSet",
            arguments={"column": "split", "value_set": list(splits)},
            fix="add episodes of the missing splits to the source, and " + AGAIN,
            severity=severity,
        )

    return [
        _among("splits are known", "split", SPLITS),
        present("there is training and test data", ("train", "test"), "error"),
        present("every split has data", SPLITS, "warning"),
        _equal("rows lie in their split's shards", "split", "shard_split", fix=AGAIN),
        _between("no trajectory is in two splits", "trajectory_splits", 1, 1, fix="keep it in one split, and " + AGAIN),
        _none(
            "no state is in two splits",
            "twin_problem",
            # A score on a state that was trained on shows nothing.
            fix="drop one of the two from the source, a recording's with tracer.ingestion.disjoint.make_disjoint, and "
            + AGAIN,
        ),
        Expectation(
            name="most states differ",
            kind="ExpectColumnProportionOfUniqueValuesToBeBetween",
            arguments={"column": "state", "min_value": 0.5},
            fix="record more varied episodes: repeated states teach little",
            severity="warning",
        ),
    ]


def _prompt(config: Config) -> Expectation:
    return _between(
        "prompts fit the planner's context",
        "prompt_tokens",
        1,
        config.planner.max_prompt_tokens,
        fix="raise planner.max_prompt_tokens, or shorten planner.history: a cut prompt loses image tokens",
    )


def _none(name: str, column: str, **more: Any) -> Expectation:
    return Expectation(name=name, kind="ExpectColumnValuesToBeNull", arguments={"column": column}, **more)


def _among(name: str, column: str, values: Any) -> Expectation:
    arguments = {"column": column, "value_set": list(values)}
    return Expectation(name=name, kind="ExpectColumnValuesToBeInSet", arguments=arguments)


def _between(name: str, column: str, low: float | None, high: float | None, **more: Any) -> Expectation:
    bounds = {"min_value": low, "max_value": high}
    arguments = {"column": column, **{key: bound for key, bound in bounds.items() if bound is not None}}
    return Expectation(name=name, kind="ExpectColumnValuesToBeBetween", arguments=arguments, **more)


def _fraction(name: str, column: str) -> Expectation:
    return _between(name, column, 0, 1, fix="coordinates are fractions of the screen in [0, 1]; " + SOURCE)


def _equal(name: str, column: str, other: str, **more: Any) -> Expectation:
    arguments = {"column_A": column, "column_B": other, "ignore_row_if": "either_value_is_missing"}
    return Expectation(name=name, kind="ExpectColumnPairValuesToBeEqual", arguments=arguments, **more)


def _written(column: str) -> Expectation:
    """A text that is there and not empty."""
    return Expectation(
        name=f"{column} is given",
        kind="ExpectColumnValuesToMatchRegex",
        arguments={"column": f"{column}", "regex": r"\S"},
    )

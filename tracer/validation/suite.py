"""The expectations that canonical data has to meet, as Great Expectations runs them.

Each names one thing that can be wrong, what is done about it, and whether it closes the gate (``error``) or is only
shown (``warning``). They are data, so that the list can be read, counted and shown without running it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tracer.action import COORDINATES, GRAMMAR
from tracer.config import Config
from tracer.sources.source import MAX_SIDE
from tracer.trajectory import OUTCOMES, SPLITS, TOLERANCE
from tracer.validation.lessons import FIXES, GOALS, MAX_REPEATED
from tracer.validation.step_table import SIDES

AGAIN = "run the step `ingest` again"
SOURCE = "correct the record in the source, or its adapter, and " + AGAIN
FRACTIONS = "coordinates are fractions of the screen in [0, 1]; " + SOURCE
Severity = Literal["error", "warning"]
Table = Literal["steps", "records"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One expectation, of the class ``kind`` of ``great_expectations.expectations``."""

    name: str
    kind: str
    arguments: Mapping[str, Any]
    fix: str
    severity: Severity
    table: Table
    """``steps`` is the table of ``step_table``, ``records`` has one row per record read, ingested or rejected."""

    @property
    def columns(self) -> list[str]:
        """The columns it looks at."""
        named = [self.arguments[key] for key in ("column", "column_A", "column_B") if key in self.arguments]
        return named or list(self.arguments.get("column_list", ()))


def expectations(config: Config, *, prompts: bool) -> list[Expectation]:
    """All of them; ``prompts`` says whether the length of prompts is known."""
    found = [*_identity(), *_actions(), *_targets(), *_screens(config), *_splits(), *_lessons(config)]
    if prompts:
        fix = "raise planner.max_prompt_tokens, or shorten planner.history: a cut prompt loses image tokens"
        found.append(
            _between("prompts fit the planner's context", "prompt_tokens", 1, config.planner.max_prompt_tokens, fix=fix)
        )
    quarantined = _expect(
        "ColumnMeanToBeBetween", "few records are quarantined", column="rejected", min_value=0,
        max_value=config.data.max_quarantined, table="records",
        fix="fix the records that quarantine.parquet names, or raise data.max_quarantined",
    )  # fmt: skip
    return [*found, quarantined]


def _identity() -> list[Expectation]:
    ids = "give every trajectory an id of its own in its source, and " + AGAIN
    return [
        _none("columns have the canonical types", "schema_problem", fix=AGAIN),
        *(
            _expect("ColumnValuesToMatchRegex", f"{name} is given", column=name, regex=r"\S")
            for name in ("trajectory_id", "source", "task", "goal", "instruction")
        ),
        _among("outcomes are known", "outcome", OUTCOMES),
        _expect("CompoundColumnsToBeUnique", "no step is there twice", column_list=["trajectory_id", "step"], fix=ids),
        _equal("steps are in order, without gaps", "step", "position"),
        _equal("trajectories have as many steps as they say", "steps", "found_steps"),
        _none("a trajectory keeps its goal, task, split and outcome", "varying_problem"),
        _none("nothing follows the end", "after_end_problem", severity="warning"),
    ]


def _actions() -> list[Expectation]:
    words = "write instructions with tracer.instruction.describe; stage 2 cannot ground these steps"
    return [
        _among("action types are known", "action_type", GRAMMAR),
        _none("actions obey the grammar", "action_problem"),
        _equal("the action type is the action's", "action_type", "parsed_type"),
        *(_between(f"{name} lies on the screen", name, 0, 1, fix=FRACTIONS) for name in COORDINATES),
        _none("instructions lead to their element", "unlocatable_problem", severity="warning", fix=words),
    ]


def _targets() -> list[Expectation]:
    return [
        *(
            _between(f"the target's {side} side lies on the screen", f"target_{side}", 0, 1, fix=FRACTIONS)
            for side in SIDES
        ),
        _none("targets are boxes", "target_problem"),
        _expect(
            "ColumnValuesToBeBetween", "clicks lie inside their target", column="outside_target", max_value=TOLERANCE
        ),
        _none("elements lie on the screen", "elements_problem"),
    ]


def _screens(config: Config) -> list[Expectation]:
    found = [
        _none("pictures decode", "image_problem"),
        *(_between(f"a picture's {name} is sensible", f"image_{name}", 1, MAX_SIDE) for name in ("width", "height")),
        *(_equal(f"pictures have the stated {name}", name, f"image_{name}") for name in ("width", "height")),
    ]
    if config.planner.image:
        fix = "add the screenshots to the source, or set planner.image to false for a planner without eyes"
        found.append(_among("every step has a picture", "has_image", [True], fix=fix))
    return found


def _splits() -> list[Expectation]:
    missing = "add episodes of the missing splits to the source, and " + AGAIN
    # A score on a state that was trained on shows nothing.
    twin = "drop one of the two from the source, a recording's with tracer.ingestion.disjoint.make_disjoint, and "
    repeated = "record more varied episodes: repeated states teach little"
    return [
        _among("splits are known", "split", SPLITS),
        _present("there is training and test data", ["train", "test"], fix=missing),
        # Without tasks that no training saw, a report says less, and is no less true.
        _present("trained tasks have data in every split", [name for name in SPLITS if name != "heldout"], fix=missing,
                 severity="warning"),
        _equal("rows lie in their split's shards", "split", "shard_split", fix=AGAIN),
        _between("no trajectory is in two splits", "trajectory_splits", 1, 1, fix="keep it in one split, and " + AGAIN),
        _none("no state is in two splits", "twin_problem", fix=twin + AGAIN),
        _expect(
            "ColumnProportionOfUniqueValuesToBeBetween", "most states differ", column="state", min_value=0.5,
            fix=repeated, severity="warning",
        ),
    ]  # fmt: skip


def _lessons(config: Config) -> list[Expectation]:
    """What makes training come to nothing; data without anything to point at closes the gate, for it surely does."""
    names = {
        "unshown_problem": "targets are among the elements that the planner is shown",
        "unwritable_problem": "the planner's grammar can write every action",
        "shrunk_problem": "the planner's picture is large enough for the screens",
        "few_problem": "every task has enough training episodes",
    }
    found = [_none(name, column, severity="warning", fix=FIXES[column]) for column, name in names.items()]
    found += [
        _expect(
            "ColumnMeanToBeBetween", "few steps repeat the one before", column="repeated", max_value=MAX_REPEATED,
            fix=FIXES["repeats_problem"], severity="warning",
        ),
        _expect(
            "ColumnUniqueValueCountToBeBetween", "goals differ", column="goal", min_value=2, fix=GOALS,
            severity="warning",
        ),
    ]  # fmt: skip
    if config.planner.grammar == "pointing":
        fix = FIXES["listless_problem"]
        found += [
            _none("screens that are pointed at list their elements", "listless_problem", severity="warning", fix=fix),
            _expect(
                "ColumnMeanToBeBetween", "there is something to point at", column="listless", max_value=0.9, fix=fix
            ),
        ]
    return found


def _expect(
    kind: str, name: str, *, fix: str = SOURCE, severity: Severity = "error", table: Table = "steps", **arguments: Any
) -> Expectation:
    return Expectation(name=name, kind=f"Expect{kind}", arguments=arguments, fix=fix, severity=severity, table=table)


def _none(name: str, column: str, **more: Any) -> Expectation:
    return _expect("ColumnValuesToBeNull", name, column=column, **more)


def _among(name: str, column: str, values: Any, **more: Any) -> Expectation:
    return _expect("ColumnValuesToBeInSet", name, column=column, value_set=list(values), **more)


def _present(name: str, splits: list[str], **more: Any) -> Expectation:
    return _expect("ColumnDistinctValuesToContainSet", name, column="split", value_set=splits, **more)


def _between(name: str, column: str, low: float, high: float, **more: Any) -> Expectation:
    return _expect("ColumnValuesToBeBetween", name, column=column, min_value=low, max_value=high, **more)


def _equal(name: str, column: str, other: str, **more: Any) -> Expectation:
    more |= {"column_A": column, "column_B": other, "ignore_row_if": "either_value_is_missing"}
    return _expect("ColumnPairValuesToBeEqual", name, **more)

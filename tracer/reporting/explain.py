"""Why a forecast earns what it earns: the stage-1 reward term by term, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracer.config import Config
from tracer.dataset import read
from tracer.examples import Example, examples
from tracer.forecast import Forecast, ForecastStep
from tracer.grammars.grammar import grammar
from tracer.grammars.reading import ParseRule, Reading
from tracer.lineage.digest import LineageError
from tracer.reporting.tables import aligned
from tracer.reward import (
    PROTOTYPE_GAMMA,
    PROTOTYPE_LENGTH,
    RewardConfig,
    StepReward,
    TrajectoryReward,
    argument_similarity,
    repetition,
    sameness,
    trajectory_reward,
)
from tracer.settings import ConfigError
from tracer.trajectory import State

WIDEST = 34  # the characters of an action that a column shows
PENALTIES = {
    "cumulative": "per step, against all earlier ones, discounted (the paper's)",
    "consecutive": "the mean over neighbours, not discounted (the article's)",
    "excess": "as cumulative, beyond what the reference itself repeats (ours)",
}


def explain(predicted: Forecast | None, reference: Forecast, config: RewardConfig) -> str:
    """The table of R = sum_t gamma^(t-1) (lambda_align sim_t - lambda_rep rep_t), one line per step, and its sums.

    None or an empty forecast is explained as what earns nothing.
    """
    reward = trajectory_reward(predicted, reference, config)
    head = (
        f"R = sum of gamma^(t-1) * (lambda_align * sim - lambda_rep * rep), gamma {config.gamma:g}, "
        f"lambda_align {config.align:g}, lambda_rep {config.repetition:g}\n"
        f"rep: {config.penalty}, {PENALTIES[config.penalty]}\n"
    )
    if config.form == "prototype":
        head = (
            f"R = clip((sum of gamma^(t-1) * sim - {PROTOTYPE_LENGTH:g} * |difference of lengths|) "
            f"/ sum of gamma^(t-1), 0, 1), gamma {PROTOTYPE_GAMMA:g}, sim with the prototype's credit for a type\n"
        )
    if not predicted:
        return head + "no forecast: it is empty or does not parse, and earns exactly nothing\nreward 0.0000\n"
    rows = [("t", "forecast", "really done", "gamma^(t-1)", "sim", "rep", "align", "penalty", "why")]
    for index, (step, terms) in enumerate(zip(predicted, reward.steps, strict=True)):
        theirs = reference[index] if index < len(reference) else None
        penalty = config.repetition * terms.repetition
        rows.append(
            (
                str(index + 1),
                _shown(step),
                _shown(theirs),
                f"{terms.discount:.4f}",
                f"{terms.similarity:.4f}",
                f"{terms.repetition:.4f}",
                f"{config.align * terms.discount * terms.similarity:+.4f}",
                "(mean)" if config.penalty == "consecutive" else f"{-terms.discount * penalty:+.4f}",
                "; ".join(_why(predicted, index, theirs, terms, config)),
            )
        )
    sums = (
        f"align   {reward.align:+.4f}\n"
        f"penalty {-reward.repetition:+.4f}{_mean(reward.steps, config)}\n"
        f"reward  {reward.total:.4f}\n"
    )
    header, *lines = aligned(rows)
    return head + "\n".join([header, "-" * len(header), *lines]) + "\n" + sums


def explain_files(
    predicted: Path, really: Path, config: Config, trajectory: str | None = None, step: int = 0
) -> tuple[TrajectoryReward, str]:
    """The reward and ``explain`` of a file of JSON lines, against another or against a trajectory of a folder.

    Raises ``ConfigError`` for a file or trajectory that is not there, ``LineageError`` for a reference that cannot be
    read; a prediction that does not parse is explained.
    """
    if really.is_dir() and trajectory is None:
        raise ConfigError(f"{really} is a folder of trajectories; name one with --trajectory")
    horizon = config.planner.horizon
    reading = _read(predicted, horizon, "prefix")
    if really.is_dir():
        done = example(really, trajectory, step, horizon).reference
    else:
        known = _read(really, horizon, "whole")
        if known.forecast is None:
            raise LineageError(f"{really} contains no reference, which is one JSON object per line: {known.error}")
        done = known.forecast
    said = "is read up to a line that does not parse" if reading.cut else "does not parse"
    note = f"{predicted} {said}: {reading.error}\n" if reading.error else ""
    forecast = reading.forecast
    return trajectory_reward(forecast, done, config.reward), note + explain(forecast, done, config.reward)


def example(folder: Path, trajectory: str | None, step: int, horizon: int) -> Example:
    """A step of the trajectory of that id, in a folder of shards.

    By default it is the first one of a task held out, or else of the split ``test``. Raises ``ConfigError`` if there is
    none.
    """
    looked_through = (None,) if trajectory else ("heldout", "test")
    items = (item for split in looked_through for item in read(folder, split=split))
    found = next((item for item in items if trajectory in (None, item.id)), None)
    if found is None:
        which = repr(trajectory) if trajectory else "in the split heldout or test; name one with --trajectory"
        raise ConfigError(f"{folder} has no trajectory {which}")
    if step >= len(found.steps):
        raise ConfigError(f"{found.id} has {len(found.steps)} steps; --step counts from 0")
    return list(examples([found], horizon))[step]


def _read(path: Path, horizon: int, rule: ParseRule) -> Reading:
    """What a file in the grammar ``literal`` contains."""
    if not path.is_file():
        raise ConfigError(f"{path} is not a file; give one JSON object per line, in the grammar `literal`")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LineageError(f"{path} is not UTF-8: {error}; save it as UTF-8") from error
    return grammar("literal", rule).read(text, State(goal=""), horizon)


def _why(
    forecast: Forecast, index: int, theirs: ForecastStep | None, terms: StepReward, config: RewardConfig
) -> list[str]:
    step, found = forecast[index], []
    if theirs is None:
        found.append("past the reference's end")
    elif step.action.type != theirs.action.type:
        found.append("another type")
    else:
        arguments = argument_similarity(step, theirs, config)
        found.append(f"{config.type_credit:g} + {1 - config.type_credit:g} * {arguments:.4f} for the arguments")
    if terms.repetition > 0 or (config.penalty == "excess" and repetition(forecast, index) > 0):
        same = [sameness(step, earlier) for earlier in forecast[:index]]
        # The neighbours are all that the consecutive form looks at.
        found.append(f"repeats step {index if config.penalty == 'consecutive' else same.index(max(same)) + 1}")
        if config.penalty == "excess" and repetition(forecast, index) > terms.repetition:
            found.append("the reference repeats here too")
    return found


def _mean(steps: Sequence[StepReward], config: RewardConfig) -> str:
    if config.penalty != "consecutive":
        return ""
    total = sum(step.repetition for step in steps)
    return f" = {config.repetition:g} * {total:.4f} / {max(1, len(steps) - 1)} neighbours"


def _shown(step: ForecastStep | None) -> str:
    if step is None:
        return "-"
    arguments = [f"{value:g}" if isinstance(value, float) else str(value) for _, value in step.action.arguments]
    text = " ".join([step.action.type, *arguments]) if arguments else step.instruction or step.action.type
    text = text.replace("\n", " ")
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"

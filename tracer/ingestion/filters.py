"""The filters of a mixture: which trajectories are left out, and why."""

from __future__ import annotations

from tracer.ingestion.settings import MixtureConfig
from tracer.trajectory import Trajectory


def reason_against(trajectory: Trajectory, config: MixtureConfig) -> str | None:
    """Why the filters leave a trajectory out, or None."""
    if config.completed_only and trajectory.outcome == "failure":
        return "failed"
    if config.completed_only and not config.unknown_outcome and trajectory.outcome == "unknown":
        return "outcome unknown"
    if len(trajectory.steps) < config.min_steps:
        return "too short"
    if config.max_steps is not None and len(trajectory.steps) > config.max_steps:
        return "too long"
    if config.no_redundant_steps and redundant_steps(trajectory):
        return "redundant steps"
    return None


def redundant_steps(trajectory: Trajectory) -> int:
    """How many steps repeat the action before them though the screen had not changed.

    A screen is unchanged if its picture is the same, byte for byte; for steps without one, if elements and
    observation are. A wait is never redundant.
    """
    pairs = zip(trajectory.steps, trajectory.steps[1:], strict=False)
    return sum(
        one.action == two.action
        and two.action.type != "wait"
        and (one.image, one.elements, one.observation) == (two.image, two.elements, two.observation)
        for one, two in pairs
    )

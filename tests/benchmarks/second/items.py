"""The item of a generated step, as the second scorers of AndroidControl's protocols are given it."""

from __future__ import annotations

from typing import Any

WIDTH, HEIGHT = 1080, 2400


def step(number: int, action: dict[str, Any], of: int = 5, **more: Any) -> dict[str, Any]:
    """A step of an episode of ``of`` steps."""
    place = {"episode": number // of, "step": number % of, "goal": "?"}
    return {**place, "width": WIDTH, "height": HEIGHT, "action": action, **more}

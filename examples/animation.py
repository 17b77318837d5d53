"""Draws docs/forecast.webp, the picture of the README: a forecast on its first screen, beside what happened.

    python examples/animation.py RUN/online-stage2 anticipatory/click-checkboxes-transfer/9000 docs/forecast.webp

takes an episode of an online evaluation, which `make demo` leaves in build/demo/seed0 with its screens. Nothing is made
up: on the left is what the planner wrote in the first state; on the right is what was executed, screen by screen, after
a new forecast at each turn. At the end each step has its tick, or its cross.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from tracer import json_lines
from tracer.action import Action
from tracer.evaluation.traces import SCREENS, TRACES
from tracer.forecast import ForecastStep
from tracer.reporting.overlay import FAINT, INK, MARGIN, PAPER, paint
from tracer.trajectory import State

SCALE = 0.75
"""Of a picture of the report."""
TOP = 64
GAP = 24
SECONDS = (1.5, 4.0)
"""How long each turn and the end are shown."""


def step(instruction: str, action: dict[str, Any]) -> ForecastStep:
    """A step as the trace has it."""
    return ForecastStep(action=Action.from_json(action), instruction=instruction)


def frame(goal: str, forecast: bytes, happened: bytes, title: str) -> Image.Image:
    """Both pictures side by side, under the goal."""
    panels = [Image.open(io.BytesIO(each)).convert("RGB") for each in (forecast, happened)]
    panels = [
        panel.resize((round(panel.width * SCALE), round(panel.height * SCALE)), Image.Resampling.LANCZOS)
        for panel in panels
    ]
    width = sum(panel.width for panel in panels) + GAP
    page = Image.new("RGB", (width, TOP + max(panel.height for panel in panels)), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, 6), goal, fill=INK, font=ImageFont.load_default(17))
    left = 0
    for panel, text in zip(panels, ("forecast on the first screen", title), strict=True):
        pen.text((left + MARGIN, 36), text, fill=FAINT, font=ImageFont.load_default(15))
        page.paste(panel, (left, TOP))
        left += panel.width + GAP
    return page


def frames(folder: Path, episode: str) -> tuple[list[Image.Image], list[int]]:
    """The pictures and how many milliseconds each is shown. Raises ``StopIteration`` for an episode without a trace."""
    row = next(row for row in json_lines.iterate(folder / TRACES) if row["id"] == episode)
    turns = [turn for turn in row["turns"] if turn["action"]]
    states = [
        State(goal=row["goal"], image=(folder / SCREENS / turn["screen"]).read_bytes(), width=turn["width"],
              height=turn["height"]) for turn in turns
    ]  # fmt: skip
    forecast = tuple(step(each["instruction"], each["action"]) for each in turns[0]["forecast"])
    executed = tuple(step(turn["step"], turn["action"]) for turn in turns)
    came = [ours.instruction == theirs.instruction for ours, theirs in zip(forecast, executed, strict=False)]
    before, after = paint(states[0], forecast), paint(states[0], forecast, executed, came)
    shown = [
        frame(row["goal"], before, paint(state, executed[:number]), f"what happened, step {number} of {len(turns)}")
        for number, state in enumerate(states, start=1)
    ]
    shown.append(frame(row["goal"], after, paint(states[-1], executed), f"what happened: {row['reason']}"))
    height = max(page.height for page in shown)
    turn, end = (round(1000 * seconds) for seconds in SECONDS)
    return [padded(page, height) for page in shown], [*[turn] * len(turns), end]


def padded(page: Image.Image, height: int) -> Image.Image:
    """The page with white below it."""
    whole = Image.new("RGB", (page.width, height), PAPER)
    whole.paste(page, (0, 0))
    return whole


if __name__ == "__main__":
    pages, durations = frames(Path(sys.argv[1]), sys.argv[2])
    pages[0].save(sys.argv[3], save_all=True, append_images=pages[1:], duration=durations, loop=0, quality=80, method=6)

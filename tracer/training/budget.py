"""A stage's budget: hours, or their price. Where it is spent, training ends cleanly with the weights that it has.

The time counts over kills and resumptions. As the learning rate is constant after the warm-up, a stage that ended after
17 of 40 steps has the weights of one that was asked for 17: ``--set stage1.steps=17`` makes them again.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from tracer.json_files import read_json, write_json
from tracer.training import processes
from tracer.training.settings import BudgetConfig

log = logging.getLogger(__name__)
SPENT = Path("logs") / "spent.json"  # no digest counts it


class Budget(TrainerCallback):
    """The Trainer's callback that ends a stage whose budget is spent."""

    def __init__(self, name: str, budget: BudgetConfig, steps: int, out: Path) -> None:
        self.name, self.budget, self.steps, self.path = name, budget, steps, out / SPENT
        self.ended = ""
        """Why training ended before its last step, in words; empty where it did not."""
        self._before = float(read_json(self.path, "seconds")["seconds"]) if self.path.is_file() else 0.0
        self._began = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Add up what was spent, and stop where it is all there is."""
        if self.budget.hours is None and self.budget.cost is None:
            return
        hours = (self._before + time.monotonic() - self._began) / 3600
        if processes.main():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"seconds": hours * 3600})
        all_there_is = processes.agree(spent(self.budget, hours))
        if all_there_is and state.global_step < self.steps:
            self.ended = f"the budget is spent after step {state.global_step} of {self.steps}: {all_there_is}"
            log.warning("%s: %s", self.name, self.ended)
            control.should_training_stop = control.should_save = True


def spent(budget: BudgetConfig, hours: float) -> str:
    """Why so many hours are all there are, in words; empty where there is more."""
    if budget.hours is not None and hours >= budget.hours:
        return f"{hours:.2f} of {budget.hours:g} hours"
    cost = hours * budget.price_per_hour
    if budget.cost is not None and cost >= budget.cost:
        return f"{cost:.2f} of {budget.cost:g}, for {hours:.2f} hours"
    return ""

"""A stage is asked to end while it trains: it ends after the step that it is in, with a checkpoint.

SIGTERM says that the machine is wanted back. Kubernetes and Slurm send it and kill after 30 seconds. The step that is
being taken is finished and saved if it takes no longer than ``SECONDS``; else the command ends at once, and training
resumes from the checkpoint before. It ends with code 75. Ctrl-C ends it alike, but waits for the step; pressed again,
it does not.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from transformers import TrainerCallback

from tracer.training import processes
from tracer.training.errors import AGAIN, Evicted

log = logging.getLogger(__name__)
SECONDS = 25.0
UNHEARD = (signal.SIG_DFL, signal.default_int_handler)
"""What a signal does that nobody listens for."""


class Eviction(TrainerCallback):
    """The Trainer's callback that ends training after the step in which it was asked to."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.asked = 0
        """The signal that it was asked by."""
        # What is written by then and not marked as whole is no checkpoint.
        self._last = threading.Timer(seconds, os._exit, [AGAIN])
        self._last.daemon = True

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen for SIGTERM and Ctrl-C, unless somebody does already (Dagster, in its own process).

        Raises ``Evicted`` after SIGTERM, and ``KeyboardInterrupt`` after Ctrl-C.
        """
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            yield
            return
        heard = [each for each in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(each) in UNHEARD]
        before = {each: signal.signal(each, self._ask) for each in heard}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
            self._last.cancel()
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked:
            raise Evicted("ended by SIGTERM after a checkpoint; the same command continues from it")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and stop, in every process alike, once the main one was asked to."""
        self.asked = processes.agree(self.asked)
        if self.asked:
            control.should_training_stop = control.should_save = True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.asked:
                signal.default_int_handler(number, frame)
            log.warning("interrupted: a checkpoint follows this step; Ctrl-C again ends at once, without one")
        elif self.asked != signal.SIGTERM:
            self._last.start()
        self.asked = number

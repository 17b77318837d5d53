"""SIGTERM while a stage trains: the machine is wanted back. A checkpoint is written, and the command ends with code 75.

Kubernetes and Slurm send SIGTERM and kill after 30 seconds. The step that is being taken is finished and saved if it
takes no longer than ``SECONDS``; else the command ends at once, and training resumes from the checkpoint before.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback

from tracer.training import processes
from tracer.training.errors import AGAIN, Evicted

SECONDS = 25.0


class Eviction(TrainerCallback):
    """The Trainer's callback that ends a stage after the step in which it was asked to."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.asked = False
        # What is written by then and not marked as whole is no checkpoint.
        self._last = threading.Timer(seconds, os._exit, [AGAIN])
        self._last.daemon = True

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen for SIGTERM, unless somebody does already (Dagster, in its own process); raises ``Evicted``."""
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            yield
            return
        signal.signal(signal.SIGTERM, self._ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._last.cancel()
        if self.asked:
            raise Evicted("ended by SIGTERM after a checkpoint; the same command continues from it")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and stop, in every process alike, once the main one was asked to."""
        self.asked = processes.agree(self.asked)
        if self.asked:
            control.should_training_stop = control.should_save = True

    def _ask(self, *_: object) -> None:
        if not self.asked:
            self.asked = True
            self._last.start()

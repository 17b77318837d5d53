"""What Prometheus reads of ``/metrics``."""

from __future__ import annotations

from collections import Counter, defaultdict

from tracer import exposition
from tracer.exposition import Family


class Metrics:
    """Counts of what was asked and answered, and gauges of what is going on. Used by one event loop."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.tokens: Counter[str] = Counter()
        self.inside = 0
        self.renewals: Counter[str] = Counter()

    def count(self, path: str, status: int, seconds: float) -> None:
        """An answered request."""
        self.requests[path, status] += 1
        self.seconds[path] += seconds

    def text(self, fingerprint: str, alive: bool) -> str:
        """All of it."""
        requests = [({"path": path, "status": status}, n) for (path, status), n in sorted(self.requests.items())]
        seconds = [({"path": path}, each) for path, each in sorted(self.seconds.items())]
        tokens = [({"kind": kind}, n) for kind, n in sorted(self.tokens.items())]
        renewals = [({"outcome": outcome}, n) for outcome, n in sorted(self.renewals.items())]
        families = [
            Family("tracer_requests_total", "counter", "Answered requests.", requests),
            Family("tracer_request_seconds_total", "counter", "Seconds that answers took.", seconds),
            Family("tracer_tokens_total", "counter", "Tokens of prompts and completions.", tokens),
            Family("tracer_renewals_total", "counter", "Versions that the alias moved to.", renewals),
            Family("tracer_requests_inside", "gauge", "Requests that are being answered.", [({}, self.inside)]),
            Family("tracer_up", "gauge", "Whether the planner answers.", [({"model": fingerprint}, int(alive))]),
        ]
        return exposition.text(families)

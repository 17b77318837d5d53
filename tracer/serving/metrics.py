"""What Prometheus reads of ``/metrics``, in its text format."""

from __future__ import annotations

from collections import Counter, defaultdict

TYPE = "text/plain; version=0.0.4; charset=utf-8"


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
        lines = ["# TYPE tracer_requests_total counter"]
        lines += [
            f'tracer_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.requests.items())
        ]
        lines.append("# TYPE tracer_request_seconds summary")
        for path, seconds in sorted(self.seconds.items()):
            count = sum(each for (where, _), each in self.requests.items() if where == path)
            lines.append(f'tracer_request_seconds_sum{{path="{path}"}} {seconds:.6f}')
            lines.append(f'tracer_request_seconds_count{{path="{path}"}} {count}')
        for name, label, counts in (
            ("tracer_tokens_total", "kind", self.tokens),
            ("tracer_renewals_total", "outcome", self.renewals),
        ):
            lines.append(f"# TYPE {name} counter")
            lines += [f'{name}{{{label}="{key}"}} {count}' for key, count in sorted(counts.items())]
        lines += ["# TYPE tracer_requests_inside gauge", f"tracer_requests_inside {self.inside}"]
        lines += ["# TYPE tracer_up gauge", f'tracer_up{{model="{_quoted(fingerprint)}"}} {int(alive)}']
        return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

"""The benchmarks' names, for code that needs nothing else."""

from __future__ import annotations

from tracer import plugins

BENCHMARKS = tuple(plugins.names(plugins.BENCHMARKS))

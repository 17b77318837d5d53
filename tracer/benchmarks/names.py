"""The benchmarks' names, for whoever needs no more than them."""

from __future__ import annotations

from tracer import plugins

BENCHMARKS = tuple(plugins.names(plugins.BENCHMARKS))

"""The engine that all benchmarks share: protocols, items and predictions, matching rules, figures with intervals.

Benchmarks build on ``contract.Benchmark``. Other rooms use ``score.score``, ``evaluate.evaluate``, ``paired.compare``
and ``published.page``.
"""

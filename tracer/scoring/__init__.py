"""The engine that all benchmarks share: protocols, items and predictions, matching rules, figures with intervals.

Benchmarks build on ``contract.Benchmark``, with ``matching``, ``similarity`` and ``drivers``. Other
rooms use ``score.score``, ``evaluate.evaluate``, ``paired.compare`` and ``published.page``; ``protocol``, ``files`` and
``run`` for what is given to them.
"""

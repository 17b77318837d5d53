"""Ten benchmarks, one per file or with its rules beside it, and their protocols in ``protocols/``.

Other rooms find a benchmark by its name (``tracer.scoring.contract.benchmark_class``) and import nothing from here.
"""

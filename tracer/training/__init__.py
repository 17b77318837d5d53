"""The two stages of RL and the supervised training before them.

Other rooms use the records of ``stage`` (listed in tracer/stages.py), ``gates``, ``preflight``, ``processes``,
``launch``, ``errors`` and ``replay``; ``samples`` and ``heartbeat`` for what a stage tells while it trains;
``bootstrap`` and ``smollm2`` make a base planner; the speed of a step is measured in ``start`` and ``trl``.
"""

"""The two stages of RL and the supervised training before them.

Other rooms use the records of ``stage`` (listed in tracer/stages.py), ``gates``, ``preflight`` and ``processes``.
"""

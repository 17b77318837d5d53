"""The model registry in MLflow: versions, promotion, and the runs behind them.

Other rooms use ``register.register``, ``versions.download``, ``promotion.promote``, ``promotion.history``, ``rebuild``
for what made a version, ``scores`` to log those of a benchmark, and ``tracking.data_digest`` for the data's version:

    tracer.registry.versions.load("tracer-planner@champion").forecast([state], horizon=5)
"""

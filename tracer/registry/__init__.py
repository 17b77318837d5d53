"""The model registry in MLflow: versions, promotion, and the runs behind them.

Other rooms use ``register.register``, ``versions.download``, ``promotion.promote`` and ``promotion.history``:

    tracer.registry.versions.load("tracer-planner@champion").forecast([state], horizon=5)
"""

"""The model registry in MLflow: versions, promotion, and the runs behind them.

tracer.registry.versions.load("tracer-planner@champion").forecast([state], horizon=5)
"""

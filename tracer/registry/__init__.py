"""The model registry in MLflow: versions, promotion, and the runs behind them.

Other rooms use ``register.register``, ``versions.download``, ``promotion.promote``, ``promotion.history``, ``review``
for what people decide, ``record`` and ``tracking`` for who is champion, ``start`` for what training starts from,
``rebuild`` for what made a version, ``reproduce`` to make it again, ``diff`` to compare two, ``verify``, ``gc`` and
``backup`` to keep house, ``webhooks`` to tell others, ``roles`` for who may do what, ``scores`` to log those of a
benchmark, ``live`` for the run of a stage that trains, ``step_runs`` for the digest of the data, and ``links`` to
MLflow's pages:

    tracer.registry.versions.load("tracer-planner@champion").forecast([state], horizon=5)
"""

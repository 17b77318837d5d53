"""New data: each arrival is a batch, judged on its own and then committed with the data's DVC pin, or refused.

Other rooms use ``arrival.add``, ``arrival.remove`` and ``arrival.finish``, ``inbox`` for what arrived in the watched
folder, ``store`` for what was accepted, ``verdict`` for reports, and ``logged`` to log one to MLflow.
"""

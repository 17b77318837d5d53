"""tracer: the first open implementation of TraceR1 (arXiv 2603.16777).

Read first: action.py, trajectory.py, forecast.py and reward.py.
"""

import os

# MLflow, the Hugging Face hub, vLLM and Great Expectations report their use over the network unless they are told not
# to, before they are imported. Dagster and DVC are told in their own files: infra/dagster.yaml and .dvc/config.
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

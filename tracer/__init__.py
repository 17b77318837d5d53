"""tracer: the first open implementation of TraceR1 (arXiv 2603.16777).

Read first: action.py, trajectory.py, forecast.py and reward.py.
"""

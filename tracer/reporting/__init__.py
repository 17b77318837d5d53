"""What people look at: the report with its charts and pictures, the tables of results, the explanation of a reward.

Other rooms use ``report.report``, ``view`` with its ``links``, ``export``, ``tables.results_table``, ``overlay.paint``,
``gallery`` and ``explain.explain_files``.
"""

"""Great Expectations over the ingested shards, which decides whether anything may train on them.

Other rooms use ``validate.validate``, ``validate.raise_on_failure``, ``validate.prompt_counter``,
``suite.expectations`` and ``lessons.Lessons``.
"""

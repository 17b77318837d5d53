"""A planner behind an OpenAI-compatible endpoint: ``tracer serve``.

Other rooms use ``server.serve``. From the outside in: ``server`` listens and ends, ``guard`` lets a request in and
bounds what it may cost, ``front`` answers it, with ``forecasting`` for ``/forecast``, and ``local`` or ``upstream``
runs the planner. ``wire`` has the shapes that go over the wire.
"""

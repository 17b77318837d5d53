"""Worlds that an agent acts in, the browser they run in, and the scripts that demonstrate in them.

Other rooms use ``environment.World``, found by its name (``tracer.plugins.ENVIRONMENTS``); ``record``, ``replay`` and
``demonstration`` with its ``script``; ``browser`` and ``pages`` for what is installed; ``website`` for any web page,
and how far ``acting.SCROLL`` goes; ``osworld_results`` for the names of OSWorld's files; and, to score the
demonstrators, ``miniwob_world``, ``demonstrators`` and ``performance``.
"""

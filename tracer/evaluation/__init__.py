"""A planner on held-out states (``offline``) and in whole episodes (``online``), and how both are scored.

Other rooms use ``offline.evaluate``, ``online.evaluate``, ``acting.act`` for any web page, ``results`` for what they
wrote, ``episodes`` to play one, ``traces`` for what was seen and said meanwhile, and ``scoring`` for a single forecast.
"""

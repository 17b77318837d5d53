"""Adapters that read published data sets, or recordings of one's own, into trajectories: one per file.

Other rooms use ``source.source(name)`` and the records of ``source``; an adapter reads each record through
``boundary.Origin``. ``store`` finds a file by the path that a record has for it. ``actions.PYAUTOGUI`` and
``pyautogui`` also say how pyautogui's code is written, and ``calls.parse`` parses foreign code within limits. ``jsonl``
is the project's own format, and ``recording`` writes it.
"""

"""Strategies that decide when to ask the planner for a forecast and which step of it to execute: one per file.

Other rooms use ``agent.Agent`` and ``agent.act_all``; an agent is found by its name (``tracer.plugins.AGENTS``).
"""

"""Worlds an agent acts in, each with ``reset`` and ``step``, and those who demonstrate in them."""

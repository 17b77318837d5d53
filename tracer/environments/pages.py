"""The MiniWoB++ pages in use, in the four disjoint groups of ``pages.yaml``. Every page there has a demonstrator.

A family is the pages of one task: they share goal and layout, as ``email-inbox-*`` do, or the thing that is operated,
as a menu. Buttons, fields, calendars and scrolling occur in many tasks, and make no family.
"""

from __future__ import annotations

import yaml

from tracer import package_data

_PAGES = yaml.safe_load(package_data.read("environments/pages.yaml"))
GROUPS: dict[str, tuple[str, ...]] = {name: tuple(pages) for name, pages in _PAGES["groups"].items()}
"""The groups, as ``tracer record --pages`` calls them."""
BASE, RL, HELDOUT, FAMILIES = (GROUPS[name] for name in ("base", "rl", "heldout", "families"))
LONGEST: dict[str, int] = _PAGES["longest"]
"""The steps of the longest demonstration among the sample data, of the pages that are evaluated."""

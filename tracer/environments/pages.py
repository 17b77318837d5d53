"""The MiniWoB++ pages in use, in four disjoint groups. Every page here has a demonstrator.

A family is the pages of one task: they share goal and layout, as ``email-inbox-*`` do, or the thing that is operated,
as a menu. Buttons, fields, calendars and scrolling occur in many tasks, and make no family.
"""

from __future__ import annotations

# Broad skills, short tasks and long ones: what the tiny base planner is pretrained on.
BASE = (
    "click-button",
    "click-button-sequence",
    "click-checkboxes",
    "click-checkboxes-large",
    "click-collapsible",
    "click-dialog-2",
    "click-link",
    "click-option",
    "click-tab",
    "click-test-2",
    "click-widget",
    "choose-list",
    "email-inbox-delete",
    "email-inbox-forward",
    "email-inbox-important",
    "enter-date",
    "enter-password",
    "enter-text",
    "enter-text-2",
    "enter-time",
    "focus-text-2",
    "form-sequence-2",
    "login-user",
    "navigate-tree",
    "search-engine",
    "social-media",
    "use-autocomplete-nodelay",
    # Not yet seen by the base in ``data/base``:
    "ascending-numbers",
    "click-dialog",
    "click-test",
    "email-inbox-forward-nl",
    "email-inbox-forward-nl-turk",
    "find-greatest",
    "focus-text",
    "generate-number",
    "guess-number",
    "odd-or-even",
    "unicode-test",
    "use-autocomplete",
    "use-slider",
    "use-slider-2",
)

# Several steps, which a forecast can be right or wrong about: what the two reinforcement stages train on.
RL = (
    "choose-date-nodelay",
    "click-checkboxes-transfer",
    "click-collapsible-2-nodelay",
    "click-tab-2",
    "copy-paste-2",
    "email-inbox-reply",
    "form-sequence",
    "login-user-popup",
    "multi-orderings",
    "order-food",
    "phone-book",
    "read-table",
    "social-media-some",
    "use-spinner",
)

# Never trained on: relatives of trained pages with another layout, length or wording, to measure transfer.
HELDOUT = (
    "click-scroll-list",
    "click-tab-2-hard",
    "copy-paste",
    "email-inbox-noscroll",
    "email-inbox-star-reply",
    "enter-text-dynamic",
    "form-sequence-3",
    "multi-layouts",
    "read-table-2",
    "social-media-all",
    "text-transform",
)

# Never trained on either, and nothing of their families is: neither a page of them nor one of another delay or length.
FAMILIES = (
    "book-flight-nodelay",
    "buy-ticket",
    "click-menu",
    "grid-coordinate",
    "scroll-text-2",
    "sign-agreement",
)

GROUPS = {"base": BASE, "rl": RL, "heldout": HELDOUT, "families": FAMILIES}
"""The groups, as ``tracer record --pages`` calls them."""

LONGEST = {
    "choose-date-nodelay": 14,
    "click-checkboxes-transfer": 4,
    "click-collapsible-2-nodelay": 4,
    "click-scroll-list": 3,
    "click-tab-2": 3,
    "click-tab-2-hard": 5,
    "copy-paste": 6,
    "copy-paste-2": 6,
    "email-inbox-noscroll": 5,
    "email-inbox-reply": 5,
    "email-inbox-star-reply": 5,
    "enter-text-dynamic": 3,
    "form-sequence": 13,
    "form-sequence-3": 4,
    "login-user-popup": 7,
    "multi-layouts": 7,
    "multi-orderings": 7,
    "order-food": 23,
    "phone-book": 5,
    "read-table": 3,
    "read-table-2": 5,
    "social-media-all": 13,
    "social-media-some": 11,
    "text-transform": 3,
    "use-spinner": 11,
}
"""The steps of the longest demonstration among the sample data, of the pages that are evaluated."""

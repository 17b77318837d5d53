"""The matching rules that several benchmarks share, each after the script that published it."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

DIGITS = re.compile(r"\d+")
LONGEST_NUMBER = 9  # digits; a longer number is off every screen


def token_f1(ours: str, theirs: str) -> float:
    """F1 of the two sets of lower-case whitespace tokens; 0 where either is empty. Source: OS-Atlas."""
    left, right = set(ours.lower().split()), set(theirs.lower().split())
    return set_f1(left, right)


def set_f1(left: set[str], right: set[str]) -> float:
    """The F1 score of two sets."""
    common = len(left & right)
    if not common:
        return 0.0
    precision, recall = common / len(left), common / len(right)
    return 2 * precision * recall / (precision + recall)


def gui_r1_f1(ours: str, theirs: str) -> float:
    """``token_f1`` without square brackets; two single tokens match if either contains the other. Source: GUI-R1."""
    left, right = (set(_unbracketed(text).lower().split()) for text in (ours, theirs))
    if len(left) == len(right) == 1:
        (one,), (other,) = left, right
        if one in other or other in one:
            return 1.0
    return set_f1(left, right)


def _unbracketed(text: str) -> str:
    return text.replace("[", "").replace("]", "")


def operation_f1(ours: str, theirs: str, *, exact: bool) -> float:
    """Mind2Web's operation F1 over "OP VALUE" token sets: 1 where both are empty, 0 where one is.

    ``exact`` tells upper from lower case (MindAct). Otherwise they are one, and tokens that are a run of
    ``string.punctuation`` are left out (UGround).
    """
    left, right = (set((text if exact else text.lower()).split()) for text in (ours, theirs))
    if not exact:
        left, right = ({token for token in side if token not in string.punctuation} for side in (left, right))
    if not left and not right:
        return 1.0
    return set_f1(left, right)


def contains_either_way(ours: str, theirs: str, strict: bool) -> bool:
    """Whether one text contains the other. ``strict``: an empty one of ours does not match a reference with text."""
    if strict and not ours and theirs:
        return False
    return ours in theirs or theirs in ours


def integers(text: str) -> list[int]:
    """The runs of digits of a text as numbers; an absurdly long one is a number off every screen."""
    return [int(run) if len(run) <= LONGEST_NUMBER else 10**LONGEST_NUMBER for run in DIGITS.findall(text)]


def enlarge(box: Sequence[float], factor: float) -> tuple[float, float, float, float]:
    """A (left, top, right, bottom) box scaled about its centre."""
    left, top, right, bottom = box
    across, down = (right - left) * factor / 2, (bottom - top) * factor / 2
    middle, centre = (left + right) / 2, (top + bottom) / 2
    return middle - across, centre - down, middle + across, centre + down

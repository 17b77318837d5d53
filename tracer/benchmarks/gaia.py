"""GAIA: a question, and the leaderboard's quasi-exact match of its answer.

The answers of the test split are private; the validation split has 165 questions (53, 86 and 26 by level). Agents that
have another model rewrite a wrong answer before it is scored again (MAT does) are scored by a more lenient rule.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from tracer.scoring.contract import Benchmark, BenchmarkError, Outcome, Part, PredictionRow, Row, Unparsable

PUNCTUATION = str.maketrans("", "", string.punctuation)
SPACE = re.compile(r"\s")


class Item(Row):
    """One question. ``id`` is its task_id."""

    goal: str
    level: Literal["1", "2", "3"]
    answer: str = Field(min_length=1)
    files: list[str] = Field(default_factory=list)


class Prediction(PredictionRow):
    """``native``: the final answer; null is the text "None", as in public copies of the leaderboard's scorer."""

    native: str | None = None


class Match(Part):
    """The rules of a protocol."""

    rule: Literal["leaderboard"]


class Gaia(Benchmark):
    """GAIA questions."""

    item_model = Item
    prediction_model = Prediction
    match_model = Match

    def outcome(self, item: Item, prediction: Prediction | None) -> Outcome:
        """The outcome of one question. Raises ``Unparsable``."""
        right = prediction is not None and matches(_answer(prediction), item.answer)
        return Outcome(parts={"accuracy": (right, 1)}, cluster=item.id, groups=(f"level={item.level}",))


def _answer(prediction: Prediction) -> str:
    if "native" in prediction.model_fields_set:
        return "None" if prediction.native is None else prediction.native
    action = prediction.read_action((1, 1))
    if action.type != "answer":
        raise Unparsable(f"the action is a {action.type}, not an answer")
    return str(action.get("text"))


def matches(ours: str, reference: str) -> bool:
    """The leaderboard's question_scorer.

    A reference that reads as a number is compared as one; one with a comma or semicolon as a list, element by element,
    of the same length (so "1,000" is a list); any other as a text without whitespace, case and punctuation.
    """
    if _is_number(reference):
        return _number(ours) == float(reference)
    if "," in reference or ";" in reference:
        left, right = re.split("[,;]", ours), re.split("[,;]", reference)
        return len(left) == len(right) and all(_element(a, b) for a, b in zip(left, right, strict=True))
    return _plain(ours).translate(PUNCTUATION) == _plain(reference).translate(PUNCTUATION)


def _element(ours: str, reference: str) -> bool:
    if _is_number(reference):
        return _number(ours) == float(reference)
    return _plain(ours) == _plain(reference)  # punctuation counts inside a list


def _plain(text: str) -> str:
    return SPACE.sub("", text).lower()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(text: str) -> float:
    """The number of a prediction, without ``$``, ``%`` and commas; infinity where there is none."""
    for character in "$%,":
        text = text.replace(character, "")
    return float(text) if _is_number(text) else float("inf")


def row_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """The item of one metadata row; raises ``BenchmarkError`` for a row of the test split, whose answer is private."""
    if row["Final answer"] == "?":
        raise BenchmarkError(f"{row['task_id']}: the answer is private; only the validation split can be scored here")
    item = {
        "id": row["task_id"],
        "goal": row["Question"],
        "level": str(row["Level"]),
        "answer": row["Final answer"],
        "files": [row["file_name"]] if row["file_name"] else [],
    }
    Item.model_validate(item)
    return item

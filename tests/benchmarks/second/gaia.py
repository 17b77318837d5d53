"""A second implementation of GAIA's scorer, written from its description alone, and cases for every branch of it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

RULES = {("gaia", "validation", True): "parts"}
SYMBOLS = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def squeeze(text: str) -> str:
    return "".join(letter for letter in text if not letter.isspace()).lower()


def same_number(ours: str, wanted: float) -> bool:
    found = as_number("".join(letter for letter in ours if letter not in "$%,"))
    return found is not None and found == wanted


def split(text: str) -> list[str]:
    pieces, piece = [], ""
    for letter in text:
        if letter in ",;":
            pieces.append(piece)
            piece = ""
        else:
            piece += letter
    return [*pieces, piece]


def judge(ours: str, reference: str) -> tuple[bool, str]:
    """(right, branch)."""
    wanted = as_number(reference)
    if wanted is not None:
        right = same_number(ours, wanted)
        unreadable = as_number("".join(letter for letter in ours if letter not in "$%,")) is None
        return right, "number: unreadable" if unreadable else f"number: {'equal' if right else 'other'}"
    if set(reference) & set(",;"):
        left, right_side = split(ours), split(reference)
        if len(left) != len(right_side):
            return False, "list: other length"
        for a, b in zip(left, right_side, strict=True):
            number = as_number(b)
            if number is not None and not same_number(a, number):
                return False, "list: other number"
            if number is None and squeeze(a) != squeeze(b):
                bare = ["".join(x for x in squeeze(t) if x not in SYMBOLS) for t in (a, b)]
                return False, "list: other punctuation" if bare[0] == bare[1] else "list: other text"
        return True, "list: equal"
    a, b = ("".join(letter for letter in squeeze(text) if letter not in SYMBOLS) for text in (ours, reference))
    return a == b, "text: equal" if a == b else "text: other"


def figures(cases: Sequence[dict], key: str, protocol: str) -> dict[str, float | None]:
    return {"accuracy": sum(case[key]["accuracy"][0] for case in cases) / len(cases)}


WORDS = [
    "Paris",
    "sea gull",
    "St. Petersburg",
    "egalitarian",
    "O'Neill",
    "e-mail",
    "Rockhopper penguin",
    "BaseLabelPropagation",
]


def cases(rng: random.Random, count: int) -> Iterator[dict[str, object]]:
    """Random references and predictions that are near misses as often as hits."""
    for _ in range(count):
        kind = rng.choice(["number", "list", "text", "thousands"])
        if kind == "number":
            number = rng.choice([rng.randint(-50, 5000), round(rng.uniform(-9, 99), 2)])
            reference = rng.choice([str(number), f" {number} ", f"{float(number)}"])
            ours = rng.choice(
                [
                    str(number),
                    f"${number}",
                    f"{number}%",
                    f"{number:,}",
                    f"{number + 1}",
                    f"about {number}",
                    "",
                    "seventeen",
                    f"{float(number):.3f}",
                    f"1{number}",
                ]
            )
        elif kind == "thousands":
            reference = f"{rng.randint(1, 9)},{rng.choice(['000', '500', '120'])}"
            ours = rng.choice(
                [reference, reference.replace(",", ""), reference.replace(",", ", "), reference.replace(",", ";")]
            )
        elif kind == "list":
            parts = [rng.choice([rng.choice(WORDS), str(rng.randint(1, 20))]) for _ in range(rng.randint(2, 4))]
            reference = rng.choice([", ", ";", ","]).join(parts)
            changed = list(parts)
            spot = rng.randrange(len(parts))
            change = rng.choice(["none", "case", "space", "number", "text", "punctuation", "drop", "order"])
            if change == "case":
                changed[spot] = changed[spot].upper()
            elif change == "space":
                changed[spot] = f"  {' '.join(changed[spot])}"
            elif change == "number":
                changed[spot] = f"${changed[spot]}"
            elif change == "text":
                changed[spot] += "x"
            elif change == "punctuation":
                changed[spot] += "."
            elif change == "drop":
                del changed[spot]
            elif change == "order":
                changed.reverse()
            ours = rng.choice([", ", ";"]).join(changed)
        else:
            reference = rng.choice(WORDS)
            ours = rng.choice(
                [
                    reference,
                    reference.upper(),
                    reference.replace(" ", ""),
                    f'"{reference}."',
                    f"The {reference}",
                    "",
                    "None",
                    reference.replace(".", "").replace("'", "").replace("-", ""),
                    f"{reference}\n",
                    reference[:-1],
                ]
            )
        if rng.random() < 0.02:
            ours = rng.choice([f"{ours}{' ' * 120_000}", "9" * 150_000, None])
        right, branch = judge("None" if ours is None else ours, reference)
        yield {
            "branch": branch,
            "item": {"goal": "?", "level": rng.choice(["1", "2", "3"]), "answer": reference},
            "prediction": {"native": ours},
            "parts": {"accuracy": [int(right), 1]},
        }

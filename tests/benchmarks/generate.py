"""Writes tests/benchmarks/data/*.jsonl: cases and what they have to score, by second implementations of the rules.

The implementations in tests/benchmarks/second share no code with tracer/. Deterministic; run it after a change of them:
``python -m tests.benchmarks.generate``.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.benchmarks.second import gaia, gta, odyssey, os_atlas

DATA = Path(__file__).parent / "data"
COUNT = 300
MODULES = {"gaia": gaia, "odyssey": odyssey, "os_atlas": os_atlas, "gta": gta}


def text(name: str) -> str:
    """The file of one benchmark."""
    module = MODULES[name]
    lines = []
    for number, case in enumerate(module.cases(random.Random(f"tracer {name}"), COUNT)):
        case["item"] = {"id": f"case-{number}", **case["item"]}  # type: ignore[dict-item]
        case["prediction"] = {"id": f"case-{number}", **case["prediction"]}  # type: ignore[dict-item]
        lines.append(json.dumps({"case": number, **case}, ensure_ascii=False, sort_keys=True))
    return "\n".join(lines) + "\n"


def main() -> None:
    DATA.mkdir(exist_ok=True)
    for name in MODULES:
        (DATA / f"{name}.jsonl").write_text(text(name), encoding="utf-8")


if __name__ == "__main__":
    main()

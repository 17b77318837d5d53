"""Writes AgentTrek as it is published: one JSON array of single steps as chats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TREE = "RootWebArea 'Shop', focused\n\t[12] textbox 'Search', clickable\n\t[15] button \"Go's\", clickable\n"
CODES = ["fill('12', 'red shoes')", "click('15')", "scroll(0, 300)", "send_msg_to_user('Found 3 pairs.')"]


def element(goal: str, history: list[str], code: str) -> dict[str, Any]:
    past = "".join(
        f"## step {index}\n\n### Thought:\nbecause\n\n### Action:\n{each}\n\n" for index, each in enumerate(history)
    )
    question = (
        f"# Instructions\nReview the page.\n\n## Goal:\n{goal}\n\n# Observation of current step:\n\n"
        f"## AXTree:\n{TREE}\n"
        f"# History of interaction with the task:\n\n{past}"
    )
    answer = f"<think>\nThe page shows it.\n</think>\n\n<action>\n{code}\n</action>"
    roles = {"system": "You are an agent.", "user": question, "assistant": answer}
    return {"messages": [{"role": role, "content": text} for role, text in roles.items()]}


def chain(goal: str, codes: list[str]) -> list[dict[str, Any]]:
    return [element(goal, codes[:index], code) for index, code in enumerate(codes)]


def write(folder: Path, elements: list[Any] | None = None) -> Path:
    """Two trajectories of one goal and one of another, their steps mixed."""
    folder.mkdir(parents=True, exist_ok=True)
    if elements is None:
        one, two = chain("Buy shoes", CODES), chain("Buy shoes", ["click('15')", "report_infeasible('sold out')"])
        other = chain("Read the news", ["goto('https://example.org')", "send_msg_to_user('Done')"])
        elements = [other[0], one[0], two[0], one[2], one[1], two[1], other[1], one[3]]
    (folder / "agenttrek_1207.json").write_text(json.dumps(elements, indent=1, ensure_ascii=False))
    return folder

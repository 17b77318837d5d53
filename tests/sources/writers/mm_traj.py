"""Writes MM-Traj as it is published: JSON arrays of conversations, and files.zip."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.episodes import picture
from tests.sources.writers import split_zip

FILE = "agent_tune_dataset_cpm_8k_gta_with_verifier.json"
PLAIN = (
    'image_path = "images/cat.jpg"\nanswer = visualizer(question="What is it?", image_path=image_path)\nprint(answer)'
)
GLUE = 'found = objectlocation("cat", "images/cat.jpg")\nfor box in found:\n    print(visualizer("Which?", box))'
FINAL = 'final_answer("a cat")'


def turn(code: str, thought: str = "I look at it.") -> dict[str, str]:
    return {"role": "assistant", "content": f"Thought: {thought}\nCode:\n```py\n{code}\n```<end_action>"}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def record(id: str, codes: list[str], image: Any = "images/cat.jpg", **fields: Any) -> dict[str, Any]:
    turns = [user("<image>\nTask: what is on it?")]
    for index, code in enumerate(codes):
        turns += [user(f"Observation:\nresult {index - 1}")] if index else []
        turns += [turn(code)]
    made = {
        "id": id,
        "image": image,
        "system-prompt": "You are ...",
        "answer": "a cat",
        "conversations": turns,
        **fields,
    }
    return {key: value for key, value in made.items() if value is not None}


def write(folder: Path, records: list[Any] | None = None) -> Path:
    """Pictures as a string, as an object, as an empty one, and not at all; one conversation is cut off."""
    folder.mkdir(parents=True, exist_ok=True)
    if records is None:
        tokens = {"<image_00>": "images/cat.jpg", "<image_01>": "images/dog.png"}
        system = record("s1", [FINAL])
        system["conversations"].insert(0, {"role": "system", "content": "You are ..."})
        records = [
            record("a1", [PLAIN, GLUE, FINAL]),
            record("a2", [PLAIN], image=tokens),
            record("a3", [FINAL], image={}),
            record("a4", [FINAL], image=None),
            system,
        ]
    (folder / FILE).write_text(json.dumps(records, indent=2))
    pictures = {"images/cat.jpg": picture("cat", format="JPEG"), "images/dog.png": picture("dog"), "notes.txt": b"x"}
    split_zip.write(folder / "files.zip", pictures)
    return folder

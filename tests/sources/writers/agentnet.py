"""Writes AgentNet as it is published: two jsonl files, meta data, and one split archive of pictures a group."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.episodes import picture
from tests.sources.writers import split_zip

UBUNTU, WINDOWS = "agentnet_ubuntu_5k.jsonl", "agentnet_win_mac_18k.jsonl"
CODES = [
    "pyautogui.click(x=0.1034, y=0.2071)",
    "pyautogui.moveTo(x=0.5, y=0.25)\npyautogui.dragTo(x=0.75, y=0.25, button='left')",
    "pyautogui.moveTo(x=0.4, y=0.6)\npyautogui.scroll(-5)",
    "pyautogui.write(message='caf\u00e9 \"one\"')",
    "pyautogui.hotkey(['ctrl', 's'])",
    "pyautogui.press(keys=['tab', 'enter'])",
    "computer.tripleClick(x=0.3, y=0.9)",
    "computer.wait()",
    "computer.terminate(status='success')",
]


def step(index: int, code: str, image: str, **value: Any) -> dict[str, Any]:
    words = {"action": f"Do step {index}", "thought": "Because.", "observation": "A window.", "reflection": "Good."}
    labels = {"last_step_correct": True, "last_step_redundant": False}
    return {"index": index, "image": image, "value": {"code": code, **words, **labels, **value}}


def line(task: str, codes: list[str] = CODES, run: str = "a", **fields: Any) -> dict[str, Any]:
    return {
        "task_id": task,
        "instruction": f"Save the file of {task}",
        "natural_language_task": f"Please save {task}",
        "actual_task": f"Saved {task}",
        "task_completed": True,
        "alignment_score": 8,
        "efficiency_score": 7,
        "task_difficulty": 2,
        "reason": "It was saved.",
        "traj": [step(index, code, f"{task}_{run}_{index}.png") for index, code in enumerate(codes)],
        **fields,
    }


def write_lines(path: Path, lines: list[dict[str, Any] | bytes]) -> None:
    texts = [each if isinstance(each, bytes) else json.dumps(each, ensure_ascii=False).encode() for each in lines]
    path.write_bytes(b"".join(text + b"\n" for text in texts))


def pictures_of(lines: list[dict[str, Any] | bytes]) -> dict[str, bytes]:
    names = (step["image"] for each in lines if isinstance(each, dict) for step in each["traj"])
    return {name: picture(name, 96, 54) for name in names}


def write(folder: Path, ubuntu: list[Any] | None = None, windows: list[Any] | None = None, split: bool = True) -> Path:
    """Ubuntu with a domain, Windows and macOS without; one task id with two recordings; a null verdict."""
    folder.mkdir(parents=True, exist_ok=True)
    if ubuntu is None:
        ubuntu = [line("u1", domain="os"), line("u2", CODES[:3], domain="infeasible", task_completed=None)]
    if windows is None:
        windows = [line("w1"), line("w1", CODES[:2], run="b", task_completed=False), line("m1", CODES[4:5])]
    for name, lines, group in ((UBUNTU, ubuntu, "ubuntu_images"), (WINDOWS, windows, "win_mac_images")):
        write_lines(folder / name, lines)
        (folder / group).mkdir()
        split_zip.write(folder / group / "images.zip", pictures_of(lines), part_bytes=1500 if split else None, method=0)
    meta = [
        {"task_id": "w1", "system": "Windows", "applications": ["Excel", "Edge"], "screen_width": 96},
        {"task_id": "m1", "system": "Darwin", "applications": [], "screen_width": 96},
    ]
    write_lines(folder / "meta_data_merged.jsonl", meta)  # type: ignore[arg-type]
    return folder

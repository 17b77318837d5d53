"""A model's files on the disk: whole, and readable for whom the folder is."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from tracer.json_files import DamagedFile, read_json


def weight_files(folder: Path) -> list[Path]:
    """The weights in a folder, each of them whole as its header says; raises ``DamagedFile``, also for its JSON."""
    found = sorted(folder.glob("*.safetensors"))
    for path in found:
        try:
            with safe_open(path, framework="numpy"):
                pass
        except SafetensorError as error:
            raise DamagedFile(path, error) from error
    for path in folder.glob("*.json"):
        read_json(path)
    return found


def share(folder: Path, like: Path) -> None:
    """Give every file in a folder the permissions of one that was written as usual.

    safetensors writes its files through temporary ones, for the owner alone, and a group could not serve them.
    """
    mode = like.stat().st_mode
    for path in folder.rglob("*"):
        if path.is_file() and path.stat().st_mode != mode:
            path.chmod(mode)

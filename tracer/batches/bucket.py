"""An inbox that is a prefix in S3, or in another store that fsspec knows: where arrivals are fetched from and moved.

Nothing there can be renamed, and a folder moves object by object. So what is about to move is written down before,
under ``MOVING``, with the ETag of each object: whatever a killed command left, the next one completes, and what was
uploaded meanwhile stays where it is.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tracer.lineage.digest import LineageError, digest_of

MOVING = ".moving"


def is_remote(place: str | Path) -> bool:
    """Whether a place is an address, ``s3://BUCKET/PREFIX``, and no folder."""
    return "://" in str(place)


def folders(address: str) -> list[str]:
    """The addresses of the folders right under an address, by name."""
    store, root = _store(address)
    found = store.ls(root, detail=True) if store.exists(root) else []
    names = [each["name"].rstrip("/").rpartition("/")[2] for each in found if each["type"] == "directory"]
    return [f"{address.rstrip('/')}/{name}" for name in sorted(names)]


def listing(address: str) -> dict[str, str]:
    """The objects below an address: name from there on -> ETag and size. Raises ``LineageError`` for unsafe names."""
    store, root = _store(address)
    every = store.find(root, detail=True).items()
    # A name that ends with a slash is how consoles show an empty folder.
    found = {name: each for name, each in every if each["type"] == "file" and not name.endswith("/")}
    objects = {name.removeprefix(f"{root}/"): f"{each['ETag']} {each['size']}" for name, each in sorted(found.items())}
    unsafe = next((name for name in objects if {"", ".", ".."} & set(name.split("/"))), None)
    if unsafe is not None:
        raise LineageError(f"{address} has an object named {unsafe!r}, which leads elsewhere on a disk: rename it")
    return objects


def fetched(address: str, to: Path) -> tuple[Path, dict[str, str]]:
    """The local copy of a folder, made below ``to`` unless it is there, and its ``listing``.

    Raises ``LineageError`` for a folder that changed meanwhile.
    """
    objects = listing(address)
    store, root = _store(address)
    target = to / digest_of(objects)[:16] / root.rpartition("/")[2]
    if not target.is_dir():
        part = target.with_name(".part")
        shutil.rmtree(part, ignore_errors=True)
        for name in objects:
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            store.get_file(f"{root}/{name}", str(part / name))
        if listing(address) != objects:
            raise LineageError(f"{address} changed while it was fetched: run it again when all of it has arrived")
        os.rename(part, target)
    return target, objects


def put(files: Iterable[Path], address: str) -> None:
    """Upload files into a folder; those that are not there are left out."""
    store, root = _store(address)
    for path in files:
        if path.is_file():
            store.put_file(str(path), f"{root}/{path.name}")


def read(address: str) -> Any:
    """The JSON value in an object."""
    store, root = _store(address)
    return json.loads(store.cat_file(root))


def move(inbox: str, address: str, objects: dict[str, str], target: str) -> None:
    """Move the objects of a folder that are still those listed; ``finish`` completes it."""
    store, root = _store(inbox)
    todo = {"from": address, "to": target, "objects": objects}
    store.pipe_file(f"{root}/{MOVING}/{digest_of(todo)[:16]}.json", json.dumps(todo).encode())
    finish(inbox)


def finish(inbox: str) -> None:
    """Complete the moves that were begun."""
    store, root = _store(inbox)
    for note in store.glob(f"{root}/{MOVING}/*.json"):
        todo = json.loads(store.cat_file(note))
        (_, source), (_, target) = _store(todo["from"]), _store(todo["to"])
        now = listing(todo["from"])
        for name, mark in todo["objects"].items():
            if now.get(name) == mark:
                store.cp_file(f"{source}/{name}", f"{target}/{name}")
                store.rm_file(f"{source}/{name}")
        store.rm_file(note)


def remove(address: str) -> None:
    """Remove a folder with all that is in it."""
    store, root = _store(address)
    store.rm(root, recursive=True)


def has(address: str, name: str) -> bool:
    """Whether there is an object of that name right under an address."""
    store, root = _store(address)
    return bool(store.exists(f"{root}/{name}"))


def reports(address: str, name: str) -> Iterator[str]:
    """The addresses of the folders right under an address that have an object of that name."""
    yield from (each for each in folders(address) if has(each, name))


def _store(address: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    # Listings are asked for again each time: others upload meanwhile.
    store, root = url_to_fs(address, use_listings_cache=False)
    return store, root.rstrip("/")

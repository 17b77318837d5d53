"""A base planner from the Hugging Face hub, at a pinned commit, as a folder like every other planner's.

Only weights in safetensors and plain configuration are taken, never code. Training reads the folder, so that its
digest is that of the files themselves; the id and the commit travel with every adapter (tracer/planner/lora.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tracer.config import Config
from tracer.ingestion.settings import DATA
from tracer.json_files import write_json
from tracer.lineage.digest import STARTED, LineageError, writer
from tracer.lineage.step import run_step
from tracer.planner.lora import BASE
from tracer.planner.plan import PlannerSettings
from tracer.settings import ConfigError

FILES = ["*.safetensors", "*.json", "*.txt", "*.jinja", "*.model"]


def folder(config: Config) -> Path:
    """Where the base planner is: the configured folder, or the one that ``fetch`` fills from the hub."""
    return config.out("base") if config.planner.revision else Path(config.planner.base)


def absent(config: Config) -> str:
    """What to say where the base planner is not there or not finished: whom to wait for, or what brings it."""
    path, data = folder(config), Path(config.data.path)
    if process := writer(path):
        return f"the base planner {path} is being made now, by process {process}; wait until that has ended"
    if config.planner.revision:
        how = f"`{config.command('base hub')}` fetches it"
    elif path.resolve().is_relative_to(DATA.resolve()):
        how = "`dvc pull` brings it"
    else:
        episodes = "EPISODES" if data.resolve().is_relative_to(DATA.resolve()) else data
        kind = "smollm2" if "smollm2" in path.name else "tiny"
        how = f"`{config.command(f'base {kind}')} --episodes {episodes}` builds it"
    return f"the base planner {path} {'is unfinished' if (path / STARTED).exists() else 'does not exist'}: {how}"


def fetch(config: Config, out: Path) -> dict[str, Any]:
    """Download the base's pinned commit into ``out`` (whole files only; a second call resumes); return the lineage.

    Raises ``ConfigError`` for a base that is a folder, and ``LineageError`` where the hub cannot be reached.
    """
    planner = config.planner
    if planner.revision is None:
        raise ConfigError(f"planner.base {planner.base!r} is a folder; only an id of the hub is fetched")
    return run_step(
        "base",
        config={
            "base": planner.base,
            "revision": planner.revision,
            "settings": planner.model_dump(exclude={"base", "revision", "max_prompt_tokens"}),
        },
        inputs={},
        out=out,
        module=__name__,
        body=lambda place: _fetch(config, place),
    )


def _fetch(config: Config, out: Path) -> Mapping[str, Any]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    planner, model = config.planner, out / "model"
    try:
        snapshot_download(planner.base, revision=planner.revision, local_dir=model, allow_patterns=FILES)
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        raise LineageError(
            f"{planner.base} at {planner.revision} cannot be fetched: {error}. On a machine without the hub, copy its "
            f"files into a folder and set planner.base to it (and no planner.revision)"
        ) from error
    files = sorted(model.glob("*.safetensors"))
    if not files:
        raise LineageError(f"{planner.base} at {planner.revision} has no weights in safetensors; choose another base")
    PlannerSettings.of(planner).save(model)
    write_json(model / BASE, {"id": planner.base, "path": str(model), "revision": planner.revision, "weights": ""})
    return {"files": len(files), "gigabytes": round(sum(file.stat().st_size for file in files) / 1e9, 2)}

"""Low-rank adapters: saved without their base, and never put on another one.

An adapter's folder holds the adapter alone, and ``base.json``: which base it was trained on. A base from the hub is
known by its id and commit, a folder by the digest of its weights. Loading compares before it reads a single weight.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tracer.json_files import DamagedFile, read_json, write_json
from tracer.lineage.digest import LineageError, digest_of, file_digest
from tracer.planner.plan import SETTINGS
from tracer.planner.settings import PlannerConfig
from tracer.settings import ConfigError
from tracer.training.settings import LoraConfig

WHOLE, CONFIG = "config.json", "adapter_config.json"
BASE = "base.json"
NAME = "default"  # PEFT's name for the adapter that is trained; "ref" is TRL's frozen copy of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What an adapter was trained on."""

    id: str
    """The id on the hub, or the folder as it was given."""
    path: str
    """Where its files lay."""
    revision: str | None = None
    """The commit on the hub; None for a folder."""
    weights: str = ""
    """The digest of a folder's weights; empty for a base from the hub, whose commit pins them."""

    def same(self, other: Base) -> bool:
        """Whether this is the same base: the same id and commit, or the same weights."""
        if self.revision or other.revision:
            return (self.id, self.revision) == (other.id, other.revision)
        return self.weights == other.weights

    def __str__(self) -> str:
        return f"{self.id} at {self.revision}" if self.revision else f"{self.id} (weights {self.weights[:12]})"


def base_of(folder: str | Path) -> Base:
    """Which base a model folder, or a step's output folder, holds; raises ``LineageError`` where there is none."""
    path = model_folder(Path(folder))
    if (path / BASE).is_file() and not (path / CONFIG).is_file():
        return Base(**{**read_json(path / BASE), "path": str(path)})
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise LineageError(f"{folder} contains no weights (*.safetensors); `tracer base` or `dvc pull` brings a base")
    return Base(id=str(folder), path=str(path), weights=digest_of({file.name: file_digest(file) for file in files}))


def adapted(folder: str | Path) -> Base | None:
    """The base that the adapter in a folder was trained on, or None for a folder of whole weights."""
    path = model_folder(Path(folder))
    if not (path / CONFIG).is_file():
        return None
    if not (path / BASE).is_file():
        raise LineageError(f"{path} holds an adapter, and no {BASE} that names its base; train it again")
    return Base(**read_json(path / BASE, "id", "path"))


def check_start(config: PlannerConfig, lora: LoraConfig | None, start: Path) -> None:
    """Refuse to continue from an adapter of another base or another rank; reads no weights but for a folder's digest.

    Raises ``LineageError``.
    """
    base = adapted(start)
    if base is None:
        return
    rank = read_json(model_folder(start) / CONFIG, "r")["r"]
    if lora is None or lora.rank != rank:
        wanted = "all weights" if lora is None else f"an adapter of rank {lora.rank}"
        raise LineageError(
            f"{start} holds an adapter of rank {rank}, but {wanted} shall be trained; give both stages the same lora"
        )
    hub = Base(id=config.base, path="", revision=config.revision) if config.revision else None
    configured = hub or base_of(config.base)
    if not base.same(configured):
        raise LineageError(
            f"the adapter in {start} was trained on {base}, but planner.base is {configured}; set planner.base (and "
            f"planner.revision) to the adapter's, or start from another planner"
        )


def load_adapter(path: Path, load: Callable[..., Any], trainable: bool = False) -> Any:
    """The base with the adapter on it; ``load`` loads whole weights from a folder, or an id of the hub and its commit.

    Raises ``LineageError`` for another or a missing base.
    """
    from peft import PeftModel

    base = adapted(path)
    assert base is not None  # only called where there is an adapter
    if Path(base.path).is_dir():
        found = base_of(base.path)
        if not base.same(found):
            raise LineageError(f"the adapter in {path} was trained on {base}, but {base.path} now holds {found}")
        model = load(base.path)
    elif base.revision:
        model = load(base.id, base.revision)
    else:
        raise LineageError(f"the base of the adapter in {path} is gone: {base.path}; bring back the weights {base}")
    return PeftModel.from_pretrained(model, str(path), is_trainable=trainable)


def load_processor(path: Path, image: bool) -> Any:
    """The processor, or for a planner without images the tokenizer, of a model folder."""
    from transformers import AutoProcessor, AutoTokenizer

    try:
        return (AutoProcessor if image else AutoTokenizer).from_pretrained(path)
    except Exception as error:  # transformers raises what its JSON, tokenizers and templates raise
        raise DamagedFile(path, f"its processor does not load: {error}") from error


def is_adapter(model: Any) -> bool:
    """Whether a loaded model carries an adapter."""
    return hasattr(model, "peft_config")


def save_adapter(model: Any, folder: Path, state: dict[str, Any] | None = None) -> None:
    """Write the adapter alone, and which base it belongs to. ``state`` replaces the model's own (gathered) weights."""
    base = base_of(model.peft_config[NAME].base_model_name_or_path)
    model.peft_config[NAME].revision = base.revision
    # The base's embeddings are no part of the adapter; "auto" would look for the base on the hub to decide.
    options = {} if state is None else {"state_dict": state}
    model.save_pretrained(folder, selected_adapters=[NAME], save_embedding_layers=False, **options)
    (folder / "README.md").unlink(missing_ok=True)  # a model card that names no run
    write_json(folder / BASE, asdict(base))


def kept_in(folder: Path) -> Path:
    """Where a folder keeps its model, if it has one: a step's output folder in ``model``."""
    return folder / "model" if (folder / "model").is_dir() else folder


def holds_model(folder: Path) -> bool:
    """Whether there is a model in a folder, or in a step's output folder."""
    return any((kept_in(folder) / name).is_file() for name in (WHOLE, CONFIG, SETTINGS))


def model_folder(folder: Path) -> Path:
    """``kept_in`` of a folder that has a model; raises ``ConfigError`` for one that has none."""
    path = kept_in(folder)
    if not holds_model(folder):
        raise ConfigError(f"{folder} contains no planner; a stage's output folder has one in 'model/'")
    return path

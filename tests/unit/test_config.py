"""Wrong configurations are refused before anything is loaded, and every profile of params.yaml is a right one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tracer.config import PARAMS, Config, load
from tracer.lineage.digest import LineageError
from tracer.planner import hub
from tracer.planner.lora import Base, adapted, base_of, check_start
from tracer.planner.settings import PlannerConfig, is_hub_id
from tracer.settings import ConfigError
from tracer.training.settings import LoraConfig

PROFILES = list(yaml.safe_load(PARAMS.read_text())["profiles"])
COMMIT = "92f3c4b4feadd3a016ef468d103bb5f58b2a2c6b"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_loads(profile: str) -> None:
    config = load(profile)
    assert config.profile == profile
    assert Config.model_validate(config.model_dump()) == config


def test_the_profiles_of_the_project_are_there() -> None:
    assert {"micro", "demo", "tiny", "smollm2", "qwen3vl-4b", "qwen3vl-8b", "qwen3vl-8b-authors", "qwen3vl-32b"} <= set(
        PROFILES
    )
    assert load("qwen3vl-8b").stage1.lora is not None
    assert load("qwen3vl-32b").launch.nodes > 1
    assert not load("smollm2").planner.image


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("stage1.group_sise=4", "group_sise"),
        ("stege1.groups=4", "stege1"),
        ("planner.basis=data/base", "basis"),
        ("reward.lambda=1", "lambda"),
        ("launch.gpu=4", "gpu"),
        ("stage1.lora.ranks=4", "ranks"),
    ],
)
def test_unknown_keys_are_refused_by_name(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match="Extra inputs are not permitted") as error:
        load("micro", [override])
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["stage1.groups=8", "stage1.accumulation=3"], "choose an accumulation that divides groups"),
        (["stage1.groups=8", "stage1.group_size=6", "stage1.accumulation=16"], "micro-batches of whole groups"),
        (["stage1.group_size=1"], "greater than 1"),
        ([f"seed={2**32}"], "less than 4294967296"),  # accepted, it would fail where NumPy is seeded
        (["stage1.group_size=1.5"], "valid integer"),
        (["launch.strategy=fsdp2", "launch.gpus=8"], "cannot be dealt to 8 processes"),
        (["launch.gpus=2"], "strategy 'single' is one process"),
        (["launch.strategy=zero3", "launch.nodes=2"], "is for one node"),
        (["launch.strategy=fsdp2", "launch.gpus=2", "stage1.pass_rate_samples=4"], "set stage1.pass_rate_samples to 0"),
        (["launch.strategy=fsdp2", "launch.gpus=2", "stage2.gradient_checkpointing=true"], "fsdp2 recomputes"),
        (["launch.strategy=zero3", "launch.gpus=2", "launch.vllm_tensor_parallel=4"], "does not divide 2 GPUs"),
        (["stage1.rollouts=continuous_batching"], "reads no images"),
        (["stage1.rollouts=continuous_batching", "planner.image=false", "stage1.bf16=true"], "rounds trained weights"),
        (["planner.constrain=always", "stage2.rollouts=vllm_server"], "set planner.constrain to evaluation"),
        (["reward.gamma=0"], "greater than 0"),
        (["reward.penalty=none"], "'cumulative', 'consecutive' or 'excess'"),
        (["planner.base=Qwen/Qwen3-VL-8B-Thinking"], "needs planner.revision"),
        (["planner.base=Qwen/Qwen3-VL-8B-Thinking", "planner.revision=main"], "is not a commit"),
        ([f"planner.revision={COMMIT}"], "is a folder, which has no revision"),
    ],
)
def test_a_wrong_value_is_refused_with_its_fix(overrides: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        load("micro", overrides)
    assert says in str(error.value)


def test_a_horizon_over_ten_wants_force() -> None:
    with pytest.raises(ConfigError, match="--force"):
        load("micro", ["planner.horizon=11"])
    assert load("micro", ["planner.horizon=11"], force=True).planner.horizon == 11
    assert load("micro", ["planner.horizon=10"]).planner.horizon == 10


def test_other_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no profile 'huge'; it has: micro"):
        load("huge")
    with pytest.raises(ConfigError, match=r"dotted\.key=value"):
        load("micro", ["stage1.steps"])
    with pytest.raises(ConfigError, match="run in the project's root"):
        load("micro", path=tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("profile: micro\nprofiles: {micro: {}}\nmore: 1\n")
    with pytest.raises(ConfigError, match="exactly the keys"):
        load("micro", path=tmp_path / "params.yaml")


def test_what_is_an_id_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_hub_id("Qwen/Qwen3-VL-8B-Thinking")
    assert not any(map(is_hub_id, ("data/base", "build/x", "./a", "../a", "/a/b", "base", "a/b/c")))
    (tmp_path / "Qwen" / "Qwen3-VL-8B-Thinking").mkdir(parents=True)
    assert not is_hub_id("Qwen/Qwen3-VL-8B-Thinking")  # a folder of that name is a folder


def test_a_base_from_the_hub_has_a_folder_of_its_own() -> None:
    config = load("qwen3vl-8b")
    assert hub.folder(config) == config.out("base")
    assert hub.folder(load("micro")) == Path("data/base")
    with pytest.raises(ConfigError, match="only an id of the hub is fetched"):
        hub.fetch(load("micro"), Path("nowhere"))


def adapter(folder: Path, base: dict[str, object] | None, rank: int = 8) -> Path:
    """The small files of an adapter's folder; its weights are never looked at."""
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "adapter_config.json").write_text(json.dumps({"r": rank}))
    if base is not None:
        (model / "base.json").write_text(json.dumps(base))
    return folder


LORA = LoraConfig(rank=8)
ON_HUB = {"id": "Qwen/Qwen3-VL-8B-Thinking", "path": "gone", "revision": COMMIT, "weights": ""}


def test_an_adapter_of_another_base_is_refused(tmp_path: Path) -> None:
    start = adapter(tmp_path / "stage1", ON_HUB)
    right = PlannerConfig(base="Qwen/Qwen3-VL-8B-Thinking", revision=COMMIT)
    check_start(right, LORA, start)
    for other in ({"base": "Qwen/Qwen3-VL-32B-Thinking"}, {"revision": "0" * 40}):
        with pytest.raises(
            LineageError, match=r"was trained on Qwen/Qwen3-VL-8B-Thinking at 92f3c4b.*set planner\.base"
        ):
            check_start(right.model_copy(update=other), LORA, start)


def test_an_adapter_of_a_changed_folder_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}", encoding="utf-8")
    (base / "model.safetensors").write_bytes(b"weights")
    found = base_of(base)
    start = adapter(
        tmp_path / "stage1", {"id": str(base), "path": str(base), "revision": None, "weights": found.weights}
    )
    config = PlannerConfig(base=str(base))
    check_start(config, LORA, start)
    assert adapted(start) == Base(id=str(base), path=str(base), weights=found.weights)
    (base / "model.safetensors").write_bytes(b"other weights")
    with pytest.raises(LineageError, match="was trained on"):
        check_start(config, LORA, start)


def test_an_adapter_needs_its_base_and_its_rank(tmp_path: Path) -> None:
    config = PlannerConfig(base="Qwen/Qwen3-VL-8B-Thinking", revision=COMMIT)
    start = adapter(tmp_path / "a", ON_HUB)
    with pytest.raises(LineageError, match="give both stages the same lora"):
        check_start(config, None, start)
    with pytest.raises(LineageError, match="an adapter of rank 8, but an adapter of rank 4"):
        check_start(config, LoraConfig(rank=4), start)
    with pytest.raises(LineageError, match=r"no base\.json that names its base"):
        check_start(config, LORA, adapter(tmp_path / "b", None))


def test_a_folder_of_whole_weights_is_no_adapter(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    check_start(PlannerConfig(), None, tmp_path)
    assert adapted(tmp_path) is None
    with pytest.raises(LineageError, match="contains no weights"):
        base_of(tmp_path)


def test_nothing_heavy_is_loaded_to_refuse() -> None:
    code = (
        "import sys, tracer.config as c, tracer.planner.lora\n"
        "try: c.load('micro', ['planner.base=a/b'])\n"
        "except c.ConfigError: print(sorted({'torch', 'transformers', 'peft', 'trl', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("given", ["http://mlflow:5000", ""])
def test_mlflow_keeps_its_own_variable(given: str) -> None:
    ask = "from tracer.config import RegistryConfig; print(RegistryConfig().tracking_uri)"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": given}
    done = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (given or "sqlite:///mlflow.db")


def test_planners_that_are_not_played_are_planners() -> None:
    assert load("demo").evaluation.unplayed == ("stage1",)
    with pytest.raises(ConfigError, match="names 'satge1'; the planners are base, stage1, stage2"):
        load("demo", ["evaluation.unplayed=[satge1]"])


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize("key", ["stage1.learning_rate", "reward.align", "evaluation.max_states"])
def test_a_number_that_is_not_finite_is_refused(key: str, value: str) -> None:
    with pytest.raises(ConfigError, match=key):
        load("demo", [f"{key}={value}"])


def test_a_configuration_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("profile: caf\u00e9".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"params\.yaml is not valid YAML in UTF-8"):
        load(path=path)

"""The traps of the stack: what pip resolves without complaint and what then fails at run time."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).parents[2]


@dg.asset
def a() -> None: ...


@dg.asset(deps=[a], group_name="other")
def b() -> None: ...


@pytest.mark.filterwarnings("ignore::dagster.BetaWarning")
@pytest.mark.parametrize(
    ("selection", "names"),
    [
        ('key:"a" or +key:"b"', {"a", "b"}),
        ("a+", {"a", "b"}),
        ('group:"other"', {"b"}),
        ('* and not key:"b"', {"a"}),
    ],
)
def test_dagster_parses_asset_selections(selection: str, names: set[str]) -> None:
    # With the ANTLR 4.9 that DVC's usual dependencies pin: "ord() expected string of length 1, but int found".
    keys = dg.AssetSelection.from_string(selection).resolve([a, b])
    assert {key.to_user_string() for key in keys} == names


def test_dvc_reads_its_hydra_configuration(tmp_path: Path) -> None:
    # The other side of the ANTLR pin: DVC composes parameters through hydra and omegaconf, which have a grammar, too.
    from dvc.utils.hydra import compose_and_dump
    from omegaconf import OmegaConf

    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text("steps: 3\nname: run-${steps}\n")
    out = tmp_path / "params.yaml"
    overrides = ["steps=5", "+more={x: [1, 2], y: 'a b'}"]
    compose_and_dump(out, str(tmp_path / "conf"), None, "config", str(plugins), overrides)
    assert OmegaConf.to_object(OmegaConf.load(out)) == {"steps": 5, "name": "run-5", "more": {"x": [1, 2], "y": "a b"}}


def test_dvc_loads_the_configuration_of_this_repository() -> None:
    from dvc.config import Config

    config = Config(str(ROOT / ".dvc"), validate=True)
    assert config["core"]["remote"] in config["remote"]


def test_the_folder_mlflow_does_not_shadow_the_package() -> None:
    code = "import sys, mlflow; print(mlflow.__file__); print(mlflow.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    file, version = done.stdout.split()
    assert not Path(file).is_relative_to(ROOT / "mlflow")
    assert version.startswith("3.")
    assert not list((ROOT / "mlflow").rglob("*.py"))


def test_transformers_imports_a_vision_language_model() -> None:
    # A torchvision beside a torch without CUDA would break exactly this.
    from transformers import LlavaForConditionalGeneration, LlavaProcessor, SiglipImageProcessorPil

    assert LlavaForConditionalGeneration and LlavaProcessor and SiglipImageProcessorPil

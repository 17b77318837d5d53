"""Plugins are found by name in the installed packages; every way in which that can fail says what to do."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tracer import planner, plugins
from tracer.plugins import PluginError
from tracer.settings import ConfigError

ROOT = Path(plugins.__file__).parent.parent


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str, str, str], None]]:
    """Installs a package of one entry point for the length of a test."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(package: str, group: str, entry: str, code: str = "") -> None:
        metadata = tmp_path / f"{package}-1.2.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        (metadata / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")
        (tmp_path / f"{package}.py").write_text(code)
        plugins._entries.cache_clear()

    yield installed
    plugins._entries.cache_clear()


def test_the_names_are_those_that_the_project_declares() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert set(declared) == set(plugins.KINDS)
    for group, entries in declared.items():
        assert plugins.names(group) == sorted(entries), "installed before these were declared: run `make environment`"
        for name, value in entries.items():
            assert plugins.module_of(group, name) == value.partition(":")[0]
            assert plugins.find(group, name).dist.name == "tracer"


@pytest.mark.parametrize("group", plugins.KINDS)
def test_every_plugin_of_ours_can_be_imported(group: str) -> None:
    for name in plugins.names(group):
        assert plugins.load(group, name) is not None


def test_another_package_adds_a_plugin(install: Callable[..., None]) -> None:
    install("ours", plugins.TOOLS, "mine = ours:Agent", "class Agent: pass")
    assert "mine" in plugins.names(plugins.TOOLS)
    assert plugins.find(plugins.TOOLS, "mine").dist.version == "1.2"
    assert plugins.module_of(plugins.TOOLS, "mine") == "ours"
    assert plugins.load(plugins.TOOLS, "mine").__name__ == "Agent"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(PluginError, match="unknown tool agent 'eyes'; there are: elements, ocr, own"):
        plugins.load(plugins.TOOLS, "eyes")
    with pytest.raises(ValueError, match="unknown tool agent 'eyes'"):
        plugins.known(plugins.TOOLS)("eyes")
    assert plugins.known(plugins.TOOLS)("ocr") == "ocr"


def test_two_packages_of_one_name_are_both_named(install: Callable[..., None]) -> None:
    install("ours", plugins.TOOLS, "ocr = ours:Agent")
    with pytest.raises(PluginError, match=r"the tool agent 'ocr' is provided by ours 1\.2 and tracer 0\.1\.0"):
        plugins.find(plugins.TOOLS, "ocr")
    assert plugins.load(plugins.TOOLS, "own") is not None


def test_a_plugin_that_cannot_be_imported_names_its_package(install: Callable[..., None]) -> None:
    install("broken", plugins.SOURCES, "mine = broken", "import no_such_module")
    with pytest.raises(PluginError, match=r"source 'mine' of broken 1\.2 cannot be imported.*no_such_module"):
        plugins.load(plugins.SOURCES, "mine")


def test_a_planners_folder_names_its_backend(install: Callable[..., None], tmp_path: Path) -> None:
    install("mine", plugins.PLANNERS, "echo = mine:load", "def load(folder): return ('echo', folder)")
    folder = tmp_path / "out" / "model"
    folder.mkdir(parents=True)
    (folder / "planner.json").write_text('{"backend": "echo", "url": "http://localhost"}')
    assert planner.load(folder) == ("echo", folder)
    assert planner.load(folder.parent) == ("echo", folder.parent)
    (folder / "planner.json").write_text('{"backend": "parrot"}')
    with pytest.raises(PluginError, match="unknown planner 'parrot'; there are: echo, openai, transformers"):
        planner.load(folder)
    with pytest.raises(ConfigError, match="contains no planner"):
        planner.load(tmp_path / "nowhere")


def test_an_old_installation_of_this_checkout_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_declared", lambda: {plugins.TOOLS: {"eyes": "tracer.tools.eyes:Eyes"}})
    with pytest.raises(PluginError, match="run `make environment`"):
        plugins.find(plugins.TOOLS, "eyes")


def test_looking_a_name_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tracer import plugins; [plugins.names(group) for group in plugins.KINDS]; "
        "print([name for name in ('torch', 'transformers', 'numpy', 'PIL', 'playwright') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"

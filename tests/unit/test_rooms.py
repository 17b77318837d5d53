"""The rooms of the house: imports point one way, without circles, and each step reaches only its own rooms."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
from pathlib import Path

import pytest

from tracer import flow, plugins
from tracer.config import Config
from tracer.lineage.code import code_of, parsed
from tracer.settings import ConfigError, Section
from tracer.stages import STAGES

ROOT = Path(__file__).parents[2]
ORDER = (
    "action settings package_data exposition faults finding http_parts json_files json_lines alerts logs progress "
    "statistics threads workers",
    "plugins trajectory lineage",
    "instruction forecast store dataset",
    "examples stored reward grammars tools sources",
    "config",
    "planner ingestion",
    "agents environments validation",
    "evaluation training",
    "scoring stages",
    "benchmarks capacity registry reporting",
    "flow schema",
    "dvc_yaml doctor experiments batches serving",
    "pipelines",
    "cli",
    "__main__",
)
"""From the vocabulary up to the front ends: a room imports from those above it in this list, or beside it."""
LEVEL = {room: level for level, line in enumerate(ORDER) for room in line.split()}
VOCABULARY = {
    "action", "config", "dataset", "examples", "faults", "forecast", "http_parts", "instruction", "json_files",
    "json_lines", "package_data", "plugins", "progress", "reward", "settings", "statistics", "store", "stored",
    "threads", "trajectory", "workers",
}  # fmt: skip
ROOMS = {
    "ingest": {"ingestion", "sources"},
    "validate": {"ingestion", "sources", "validation", "planner", "grammars"},
    "train": {"finding", "grammars", "planner", "sources", "tools", "training"},
    "gate": {"finding", "grammars", "planner", "sources", "tools", "training"},
    "offline": {"evaluation", "grammars", "planner", "tools"},
    "online": {"agents", "environments", "evaluation", "grammars", "planner", "tools"},
    "report": {"evaluation", "grammars", "planner", "reporting", "stages", "tools", "training", "finding", "sources"},
}
"""The rooms that a step's digest may reach besides the vocabulary: an edit in any other leaves the step alone."""


def imports() -> dict[str, set[str]]:
    """Every module of the project with the modules of the project that it imports, late imports included."""
    sources = {}
    for path in (*ROOT.glob("tracer/**/*.py"), *ROOT.glob("pipelines/**/*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if package else parts)
        sources[name] = parsed(path.read_bytes(), name, package).imports
    found = {name: {each for each in imported if each in sources} for name, imported in sources.items()}
    # `from a.b import c` names a.b too, which is only the folder where c is a module of it.
    return {
        name: {each for each in imported if not any(other.startswith(f"{each}.") for other in imported)} - {name}
        for name, imported in found.items()
    }


def room(module: str) -> str:
    """The room of a module: a folder or a file right under tracer/, or pipelines."""
    first, _, rest = module.partition(".")
    return rest.partition(".")[0] if first == "tracer" and rest else first


def test_no_module_is_part_of_a_circle() -> None:
    graphlib.TopologicalSorter(imports()).prepare()  # raises CycleError, which names the circle


def test_arrows_between_rooms_point_one_way() -> None:
    wrong = {
        f"{module} -> {imported}"
        for module, every in imports().items()
        for imported in every
        if module != "tracer" and LEVEL[room(imported)] > LEVEL[room(module)] and not imported.endswith(".settings")
    }
    assert wrong == set()
    assert not any(name.startswith("dagster") for path in ROOT.glob("tracer/**/*.py")
                   for name in parsed(path.read_bytes(), "m").imports)  # fmt: skip


def test_the_picture_of_the_architecture_is_what_is_imported() -> None:
    picture = (
        (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("```mermaid")[2].partition("```")[0]
    )
    drawn: dict[str, set[str]] = {}
    for user, arrow, used in re.findall(r"^ {4}(\w+)\[[^]]+\](?: (<?-->) (.+))?$", picture, re.MULTILINE):
        drawn.setdefault(user, set()).update(filter(None, used.split(" & ")))
        for each in used.split(" & ") if arrow == "<-->" else ():
            drawn.setdefault(each, set()).add(user)
    folders = {path.parent.name for path in ROOT.glob("tracer/*/__init__.py")} | {"pipelines", "flow"}
    assert set(drawn) == folders

    real: dict[str, set[str]] = {each: set() for each in folders}
    for module, imported in imports().items():
        used = {room(each) for each in imported if not each.endswith(".settings")}
        real.get(room(module), set()).update(used & folders - {room(module)})
    assert [(user, each) for user in drawn for each in drawn[user] - real[user]] == []  # no arrow is invented
    for user in folders:
        reached, found = set(), {user}
        while found:
            found = {each for other in found for each in drawn[other]} - reached
            reached |= found
        assert real[user] <= reached, user  # and none is missing


def test_the_configuration_knows_only_the_sections_of_the_rooms() -> None:
    rooms = {each for each in imports()["tracer.config"] if room(each) not in VOCABULARY}
    assert all(each.endswith(".settings") for each in rooms), rooms


@pytest.mark.parametrize("kind", ROOMS)
def test_a_step_reaches_no_other_rooms(kind: str) -> None:
    config = Config(profile="any")
    for step in flow.of(kind):
        recipe = step.recipe(config, dict.fromkeys(step.reads, Path("nowhere")))
        found = code_of(recipe["module"], recipe.get("plugins", ())).modules
        reached = {room(name) for name in found if not name.endswith(".settings")}
        assert reached - VOCABULARY - {"tracer"} <= ROOMS[kind], step.name


def test_a_step_depends_on_the_plugin_that_it_uses_and_on_no_other_of_its_kind() -> None:
    step = flow.step("ingest")
    found = step.recipe(Config(profile="any"), {flow.RAW: Path("nowhere")})
    modules = code_of(found["module"], found["plugins"]).modules
    assert "tracer.sources.jsonl" in modules
    others = {plugins.module_of(plugins.SOURCES, name) for name in plugins.names(plugins.SOURCES)}
    assert not (others - {"tracer.sources.jsonl"}) & set(modules)


def test_a_room_names_what_other_rooms_use_of_it() -> None:
    """In the docstring of its ``__init__``, as ``module`` or ``module.function``; the list of stages names its own."""
    taken = {
        each
        for module, imported in imports().items()
        for each in imported
        if each.count(".") > 1 and room(each) != room(module) and not each.endswith(".settings")
    }
    named = {
        f"tracer.{path.parent.name}.{name}."
        for path in ROOT.glob("tracer/*/__init__.py")
        for name in re.findall(r"``([\w.]+)", ast.get_docstring(ast.parse(path.read_bytes())) or "")
    }
    taken -= {stage.module for stage in STAGES}
    assert {each for each in taken if each.startswith("tracer.") and not _is_named(each, named)} == set()


def _is_named(module: str, named: set[str]) -> bool:
    return any(name.startswith(f"{module}.") or f"{module}.".startswith(name) for name in named)


def test_settings_decide_nothing_but_values() -> None:
    """Their modules are no part of a step's code, so what others import from them is sections without methods."""
    taken = {
        name
        for path in ROOT.glob("tracer/**/*.py")
        for name in parsed(path.read_bytes(), "m").imports
        if re.fullmatch(r"tracer\.(config|(\w+\.)?settings)\.\w+", name)
    }
    found = {name: getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in taken}
    declared = {
        name for name, each in found.items() if isinstance(each, type) and issubclass(each, (Section, ConfigError))
    }
    values = {"tracer.config.PARAMS", "tracer.training.settings.SHARDED", "tracer.ingestion.settings.DATA"}
    named = {"tracer.config.load", "tracer.config.profiles", "tracer.registry.settings.Role"}
    assert set(found) - declared == {*named, *values}
    methods = {
        f"{name}.{attribute}"
        for name in declared
        for attribute, value in vars(found[name]).items()
        if (callable(value) or isinstance(value, property)) and not attribute.startswith(("_", "model_"))
    }
    assert methods == {"tracer.config.Config.command", "tracer.config.Config.folder", "tracer.config.Config.out",
                       "tracer.registry.settings.RegistryConfig.command",
                       "tracer.training.settings.LaunchConfig.processes"}  # fmt: skip

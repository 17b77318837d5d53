"""What counts as a step's code: syntax trees, data files, library versions, a plugin's own package."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from pathlib import Path

import pytest

from tracer import package_data
from tracer.lineage import code
from tracer.lineage.code import code_digest, code_of, parsed

STEPS = {
    "ingest": "tracer.ingestion.ingest",
    "validate": "tracer.validation.validate",
    "stage1": "tracer.training.stage1",
    "stage2": "tracer.training.stage2",
    "gate": "tracer.training.gates",
    "offline": "tracer.evaluation.offline",
    "online": "tracer.evaluation.online",
}


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of this package, which ``code_of`` then reads."""
    root = tmp_path / "tracer"
    shutil.copytree(package_data.ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "__file__", str(root / "lineage" / "code.py"))
    return root


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_imports_are_followed() -> None:
    assert "tracer.action" in code_of("tracer.reward").modules
    assert "tracer.reward" not in code_of("tracer.action").modules


def test_prose_and_layout_do_not_count(copy: Path) -> None:
    before = code_digest("tracer.reward")
    path = copy / "reward.py"
    behind = path.read_text(encoding="utf-8").split('"""', 2)[2]
    path.write_text(f'# A comment.\n"""Other words."""\n{behind}\n\n', encoding="utf-8")
    edit(copy / "action.py", "def from_json", "def  from_json")
    assert code_digest("tracer.reward") == before
    edit(path, "math.exp(", "math.expm1(")
    assert code_digest("tracer.reward") != before


def test_a_number_is_not_its_text() -> None:
    digests = {
        parsed(f"x = {value}".encode(), "m").bare for value in ("1.5", "'1.5'", "b'1.5'", "None", "'None'", "...")
    }
    assert len(digests) == 6


def test_docstrings_count_where_code_reads_them() -> None:
    def digest(docs: str, reads: str) -> str:
        found = parsed(f'def f():\n    """{docs}"""\nprint({reads})\n'.encode(), "m")
        return found.documented if found.reads_docstrings else found.bare

    assert digest("one", "1") == digest("two", "1")
    assert digest("one", "f.__doc__") != digest("two", "f.__doc__")
    assert digest("one", "inspect.getdoc(f)") != digest("two", "inspect.getdoc(f)")


def test_a_type_checkers_imports_do_not_count() -> None:
    source = b"if TYPE_CHECKING:\n    import tracer.reward\nelse:\n    import tracer.action\n"
    assert [name for name in parsed(source, "m").imports if name.startswith("tracer")] == ["tracer.action"]


def test_a_library_that_is_looked_up_by_its_name_counts_as_imported() -> None:
    assert "miniwob" in parsed(b"import importlib.util\nimportlib.util.find_spec('miniwob')", "m").imports
    assert parsed(b"import json\nprint('miniwob')", "m").imports == ("json",)
    assert "miniwob" in code_of(STEPS["online"], ["tracer.environments.miniwob_world"]).libraries


def test_relative_imports_are_absolute_names() -> None:
    assert parsed(b"from . import x\nfrom ..b import y", "p.q.m").imports == ("p.b", "p.b.y", "p.q", "p.q.x")
    assert parsed(b"from .a import x", "p.q", True).imports == ("p.q.a", "p.q.a.x")


def test_every_python_has_the_same_digest_for_a_module() -> None:
    # Written under 3.11. 3.12 adds type parameters to definitions and reads f-strings by other rules.
    source = b'''
@dataclass(frozen=True)
class Box:
    pass

async def f(a: int = 1, *, b: str = "x" "y") -> str:
    """Documentation."""
    return f"{a!r:>{b}}" f"and {'more'} " "text" + f"" + rf"\\d{a=}"

match 1:
    case {"k": [x, *_]} if x > -1j:
        lambda *args, **options: (yield from [...])
'''
    assert parsed(source, "m").bare == GOLDEN


GOLDEN = "9ca17a68f196f674"


def test_a_data_file_counts_for_the_modules_that_read_it(copy: Path) -> None:
    online, stage = code_digest(STEPS["online"], ["tracer.environments.miniwob_world"]), code_digest(STEPS["stage1"])
    edit(copy / "environments" / "elements.js", "function", "function ")
    assert code_digest(STEPS["online"], ["tracer.environments.miniwob_world"]) != online
    assert code_digest(STEPS["stage1"]) == stage


def test_every_data_file_is_read_by_a_module_that_names_it() -> None:
    """Protocols are read by name; what a step takes of them is in its settings."""
    files = {
        path.relative_to(package_data.ROOT).as_posix()
        for path in package_data.ROOT.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "protocols" not in path.parts
    }
    modules = [path for path in package_data.ROOT.rglob("*.py") if path.is_file()]
    named = {text for path in modules for text in parsed(path.read_bytes(), "m").strings}
    assert not files - named


def test_another_version_of_a_library_is_another_digest_but_not_another_build_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = importlib.metadata.version
    before = {name: code_digest(module) for name, module in STEPS.items()}

    def with_version(changed: str, version: str) -> dict[str, str]:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: version if name == changed else real(name))
        return {name: code_digest(module) for name, module in STEPS.items()}

    changed = with_version("trl", "9.9.9")
    assert {name for name in before if changed[name] != before[name]} == {"stage1", "stage2", "gate"}
    torch = real("torch").partition("+")[0]
    assert with_version("torch", f"{torch}+cu130") == before
    assert with_version("torch", "99.0")["stage1"] != before["stage1"]


def test_every_library_that_is_imported_is_known_to_shape_results_or_not_to() -> None:
    imported = {
        name.partition(".")[0]
        for path in package_data.ROOT.rglob("*.py")
        for name in parsed(path.read_bytes(), "m").imports
    } - sys.stdlib_module_names
    assert imported - set(code.LIBRARIES) - NEUTRAL == set()


NEUTRAL = {
    "anyio", "cryptography", "dvc", "fastapi", "filelock", "flask", "fsspec", "google", "google_crc32c", "httpx2",
    "huggingface_hub", "isal", "markupsafe", "mlflow", "msgspec", "openai", "orjson", "pipelines", "psutil",
    "pydantic", "requests", "rich", "safetensors", "starlette", "tracer", "typer", "upath", "urllib3", "uvicorn",
    "yaml",
}  # fmt: skip


def test_a_plugins_package_counts_code_data_and_distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "acme_source"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "reader.py").write_text("import msgspec\nfrom .inner import names\n")
    (package / "inner.py").write_text("names = ['a']\n")
    (package / "table.csv").write_text("a,b\n")
    information = tmp_path / "acme_source-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-source\nVersion: 1.0\n")
    (information / "RECORD").write_text("acme_source/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code._distributions.cache_clear()
    found = code_of(STEPS["ingest"], ["acme_source.reader"])
    assert {"acme_source.reader", "acme_source.inner"} <= set(found.modules)
    assert "acme_source/table.csv" in found.files
    assert found.libraries["acme-source"] == "1.0" and found.libraries["msgspec"]
    (package / "inner.py").write_text("names = ['b']\n")
    assert code_of(STEPS["ingest"], ["acme_source.reader"]) != found
    assert "acme_source.reader" not in code_of(STEPS["ingest"]).modules
    code._distributions.cache_clear()


def test_a_plugin_that_is_a_single_module_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed in editable mode, too, where only the entry point leads to the distribution."""
    path = tmp_path / "acme_single_module.py"
    path.write_text("names = ['a']\n")
    information = tmp_path / "acme_single-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-single\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[tracer.sources]\nacme = acme_single_module:Source\n")
    (information / "RECORD").write_text("_acme_single.pth,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    code._distributions.cache_clear()
    found = code_of(STEPS["ingest"], ["acme_single_module"])
    code._distributions.cache_clear()
    assert "acme_single_module" in found.modules and found.libraries["acme-single"] == "1.0"
    path.write_text("names = ['b']\n")
    assert code_of(STEPS["ingest"], ["acme_single_module"]) != found


def test_a_plugin_in_a_namespace_of_several_folders_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("one", "two"):
        folder = tmp_path / part / "acme_namespace"
        folder.mkdir(parents=True)
        (folder / f"{part}.py").write_text("")
        monkeypatch.syspath_prepend(str(tmp_path / part))
    assert {f"acme_namespace.{part}" for part in ("one", "two")} <= set(
        code_of("acme_namespace.one", ["acme_namespace.two"]).modules
    )


def test_the_registry_settings_and_lineage_leave_evaluations_and_stages_alone(copy: Path) -> None:
    before = {name: code_digest(module) for name, module in STEPS.items()}
    edit(copy / "training" / "errors.py", "class TrainingStopped", "# A comment.\nclass TrainingStopped")
    for path in (*(copy / "registry").glob("*.py"), *(copy / "lineage").glob("*.py")):
        path.write_text(path.read_text(encoding="utf-8") + "\nMORE = 1\n", encoding="utf-8")
    edit(copy / "config.py", "class Config(Section):", "class Config(Section):\n    more: int = 1\n")
    assert {name: code_digest(module) for name, module in STEPS.items()} == before

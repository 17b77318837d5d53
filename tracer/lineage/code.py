"""The code behind a step: the modules it runs, the data files they read, and the libraries they import.

A module's digest is that of its syntax tree, so comments, formatting and docstrings do not count. Imports are followed
within this package, and within the package of a plugin that the configuration chose. Code is read, never imported.

Two kinds of modules are left out. Settings: the values that a step uses are in its digest anyway. This room: it makes
digests but no results, and ``step.SCHEME`` says which of its rules made one.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tracer.lineage.digest import digest_of, file_digest

OWN = "tracer"
NAMED_ALIKE = (
    "accelerate", "agentdojo", "datasets", "gguf", "jinja2", "llguidance", "matplotlib", "mcp", "miniwob", "numpy",
    "openpyxl", "pandas", "peft", "playwright", "pyarrow", "pypdf", "rapidfuzz", "scipy", "tinytag", "tokenizers",
    "torch",
)  # fmt: skip
LIBRARIES = {name: (name,) for name in NAMED_ALIKE} | {
    "PIL": ("pillow",),
    "desktop_env": ("desktop-env",),
    "great_expectations": ("great-expectations",),
    "rapidocr_onnxruntime": ("rapidocr-onnxruntime", "onnxruntime"),
    "transformers": ("transformers", "tokenizers", "jinja2", "numpy", "pillow"),
    "trl": ("trl", "accelerate", "datasets"),
}
"""The libraries that shape results, by import name, with the distributions whose versions count. Those of a plugin's
own imports all count, as nobody here knows what they do. Where a module uses importlib, naming a library as a string
counts as importing it."""
ABSENT = "absent"
# Names through which code reads docstrings at run time, as a tool's schema or a help text does.
READS_DOCSTRINGS = frozenset({"__doc__", "getdoc", "use_attribute_docstrings"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What counts as a step's code. Each digest has 16 hexadecimal digits, enough to tell versions of a file apart."""

    modules: dict[str, str]
    """Module name to the digest of its syntax tree."""
    files: dict[str, str]
    """Data file to its digest."""
    libraries: dict[str, str]
    """Distribution to its public version: without the local part, so that builds for CPU and GPU count as one."""


def code_digest(module: str, plugins: Sequence[str] = ()) -> str:
    """One digest of all of ``code_of``."""
    return digest_of(asdict(code_of(module, plugins)))


def code_of(module: str, plugins: Sequence[str] = ()) -> Code:
    """The code of a module and of the plugins' modules that the configuration chose, with all that they import."""
    own = {OWN} | {name.partition(".")[0] for name in (module, *plugins)}
    found: dict[str, Module] = {}
    todo = [module, *plugins]
    while todo:
        name = todo.pop()
        path = None if name in found or _is_left_out(name) else source_of(name)
        if path is not None:
            found[name] = parsed(path.read_bytes(), name, path.name == "__init__.py")
            todo += [each for each in found[name].imports if each.partition(".")[0] in own]
    documented = any(each.reads_docstrings for each in found.values())
    return Code(
        modules={name: each.documented if documented else each.bare for name, each in sorted(found.items())},
        files=dict(sorted(_files(found, own))),
        libraries=dict(sorted(_libraries(found))),
    )


def _is_left_out(name: str) -> bool:
    """Whether a module only declares settings, or belongs to this room."""
    return f"{name}.".startswith((f"{OWN}.config.", f"{OWN}.lineage.")) or (
        name.startswith(f"{OWN}.") and name.endswith(".settings")
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """What one module's source says about it."""

    bare: str
    """Digest of the syntax tree without docstrings."""
    documented: str
    """The same with docstrings."""
    imports: tuple[str, ...]
    """Absolute names it imports; ``from a import b`` gives both ``a`` and ``a.b``. With importlib, also the libraries
    that it names."""
    strings: frozenset[str]
    """Its string constants that look like a path in the package."""
    reads_docstrings: bool


@cache
def parsed(source: bytes, name: str, is_package: bool = False) -> Module:
    """Parse a module's source; raises ``SyntaxError``."""
    tree = ast.parse(source)
    nodes = list(_executed(tree))
    strings = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    names |= {node.arg for node in nodes if isinstance(node, ast.keyword) and node.arg}
    package = name if is_package else name.rpartition(".")[0]
    imports = {each for node in nodes for each in _imported(node, package)}
    if "importlib" in imports or any(each.startswith("importlib.") for each in imports):
        imports |= strings & LIBRARIES.keys()
    return Module(
        bare=_digest(canonical(tree, docstrings=False)),
        documented=_digest(canonical(tree, docstrings=True)),
        imports=tuple(sorted(imports)),
        strings=frozenset(text for text in strings if "/" in text[1:] and text[0] not in "/." and len(text) < 200),
        reads_docstrings=not READS_DOCSTRINGS.isdisjoint(names),
    )


def canonical(node: Any, docstrings: bool) -> Any:
    """A syntax tree as JSON, equal for every version of Python that we support, whatever the source's formatting.

    Python 3.12 adds empty fields to nodes and splits the texts of f-strings otherwise than 3.11: empty fields are left
    out, and neighbouring texts joined.
    """
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in ("kind", "type_comment"))
        parts = [[name, canonical(value, docstrings)] for name, value in fields if value is not None and value != []]
        return [type(node).__name__, *parts]
    if isinstance(node, list):
        kept = [each for each in node if docstrings or not _is_docstring(each)]
        return [canonical(each, docstrings) for each in _joined(kept)]
    return node if isinstance(node, str | int) else [type(node).__name__, repr(node)]


def _is_docstring(node: Any) -> bool:
    """Whether a statement is a text alone: a docstring, or the description of a field."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _joined(nodes: list[Any]) -> Iterator[Any]:
    """The nodes, with neighbouring texts of an f-string joined and empty ones left out."""
    text: list[str] = []
    formatted = any(isinstance(node, ast.FormattedValue) for node in nodes)
    for node in nodes:
        if formatted and isinstance(node, ast.Constant) and isinstance(node.value, str):
            text.append(node.value)
            continue
        if any(text):
            yield ast.Constant("".join(text))
        text = []
        yield node
    if any(text):
        yield ast.Constant("".join(text))


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker reads."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield node
        checking = isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        todo += node.orelse if checking and isinstance(node, ast.If) else ast.iter_child_nodes(node)


def _imported(node: ast.AST, package: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join([*parents, *([node.module] if node.module else [])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def source_of(name: str) -> Path | None:
    """The file of a module, found without importing it; None for a name that a module defines, or a foreign one."""
    package, *rest = name.split(".")
    places = [folder.joinpath(*rest) for folder in _folders(package)]
    candidates = (path for place in places for path in (place / "__init__.py", place.with_suffix(".py")))
    return next((path for path in candidates if path.is_file()), None)


def _folders(package: str) -> tuple[Path, ...]:
    """The folders of an importable package; for a single module, its file's path without the suffix."""
    if package == OWN:
        return (Path(__file__).parents[1],)
    spec = importlib.util.find_spec(package)
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(map(Path, spec.submodule_search_locations))
    return (Path(spec.origin).with_suffix(""),) if spec.has_location and spec.origin else ()


def _files(found: dict[str, Module], own: set[str]) -> Iterator[tuple[str, str]]:
    """The data files that this package's modules name, and all those of a plugin's package."""
    folder = Path(__file__).parents[1]
    for text in sorted({text for module in found.values() for text in module.strings}):
        path = folder / text
        if path.suffix not in ("", ".py") and path.is_file():
            yield text, file_digest(path)[:16]
    for package in sorted(own - {OWN}):
        for root in _folders(package):
            for path in sorted(root.rglob("*")):
                if path.is_file() and path.suffix not in (".py", ".pyc"):
                    yield f"{package}/{path.relative_to(root).as_posix()}", file_digest(path)[:16]


def _libraries(found: dict[str, Module]) -> Iterator[tuple[str, str]]:
    """The distributions that shape the result, with their public versions."""
    names: set[str] = set()
    for module, each in found.items():
        imported = {name.partition(".")[0] for name in each.imports} - {OWN}
        if module.partition(".")[0] == OWN:
            names |= {name for top in imported for name in LIBRARIES.get(top, ())}
        else:  # a plugin: its own distribution, and everything that it imports
            known = imported | {module.partition(".")[0]}
            names |= {name for top in known - sys.stdlib_module_names for name in _distributions().get(top, ())}
    for name in names:
        yield name, public_version(name)


@cache
def _distributions() -> dict[str, set[str]]:
    """The distributions behind each top-level name; those of plugins by their entry points, too.

    An editable installation may list no file but its entry points.
    """
    found = {top: set(names) for top, names in importlib.metadata.packages_distributions().items()}
    for distribution in importlib.metadata.distributions():
        for entry in distribution.entry_points:
            if entry.group.startswith(f"{OWN}."):
                found.setdefault(entry.module.partition(".")[0], set()).add(distribution.name)
    return found


def public_version(distribution: str) -> str:
    """An installed version without its local part (2.13.0+cpu is 2.13.0), or ``ABSENT``."""
    try:
        return importlib.metadata.version(distribution).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]

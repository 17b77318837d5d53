"""The pages of docs/ that show recorded results, their figures, and where those were measured, in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from tracer.json_files import read_json, write_json
from tracer.lineage.digest import LineageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def keep(results: Mapping[str, Any], folder: Path) -> None:
    """Write a profile's results into a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{results['profile']}.json", dict(results))


def read(folder: Path, command: str) -> list[dict[str, Any]]:
    """Every result in a folder; raises ``LineageError`` if there is none, naming the command that makes one."""
    found = [read_json(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise LineageError(f"{folder} contains no result; run `{command}`")
    return found


def write(template: str, page: Path, **context: Any) -> Path:
    """Fill a page's template; the page."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.tests["match"] = lambda text, start: text.startswith(start)
    environment.globals |= {"machine": machine, "state": state}
    page.write_text(environment.from_string(template).render(context), encoding="utf-8")
    return page


def figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, whose file depends on nothing but what is drawn."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "tracer"
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as SVG, without its date."""
    figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def machine(hardware: Mapping[str, Any]) -> str:
    """The GPUs of ``lineage.hardware``, or the processor where there are none."""
    return ", ".join(hardware["gpus"]) or str(hardware["cpu"])


def commit(git: Mapping[str, Any]) -> str:
    """The commit of ``lineage.git_commit``, shortened."""
    return str(git.get("commit") or "unknown")[:12]


def state(git: Mapping[str, Any]) -> str:
    """The commit, and whether the working tree differed from it."""
    return commit(git) + (" with changes" if git.get("dirty") else "")

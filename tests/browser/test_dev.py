"""``make dev`` as people use it: Dagster's and MLflow's own pages over a team's registry, clicked through."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests import checkouts, services, traced
from tests.browser.pages import browsing
from tracer.registry import tracking, versions

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]
PATIENCE = 120_000
"""Milliseconds that a page may take on a busy machine."""
MLFLOWS = ("/users/current", "ResizeObserver loop completed")
"""What MLflow's pages complain about: a server without users, and a table that is drawn again."""


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Dagster and MLflow, started by ``infra/dev.sh`` in a checkout with a champion and three traced episodes."""
    root = tmp_path_factory.mktemp("team") / "checkout"
    checkouts.team(root)
    with pytest.MonkeyPatch.context() as patch:
        checkouts.enter(root, patch)
        registry = checkouts.config().registry
        (champion,) = versions.every(registry)
        traced.logged(tracking.connect(registry), champion.run_id, root.parent / "online-stage2")
    for name in ("pipelines", "infra", "mlflow"):
        shutil.copytree(checkouts.ROOT / name, root / name, dirs_exist_ok=True)
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(checkouts.ROOT / name, root)
    (root / ".venv").symlink_to(sys.prefix)
    ports = services.free_port(), services.free_port()
    chosen = {"PYTHONPATH": str(root), "DAGSTER_PORT": str(ports[0]), "MLFLOW_PORT": str(ports[1])}
    kept = {name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI")}
    log = root.parent / "log"
    with open(log, "wb") as out:
        process = subprocess.Popen(["infra/dev.sh"], cwd=root, env=kept | chosen, stdout=out, stderr=out)
    try:
        for port, path in zip(ports, ("server_info", "health"), strict=True):
            services.answers(f"http://127.0.0.1:{port}/{path}", process, log)
        yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
    finally:
        process.terminate()
        assert process.wait(timeout=60) == 0, log.read_text(encoding="utf-8")


def click(page: Any, role: Any, name: str, shown: str) -> None:
    """Click something, and wait until a text is seen that was not there before."""
    named = re.compile(rf"(^|\s){re.escape(name)}$")  # an icon's name may come first
    page.get_by_role(role, name=named).first.click(timeout=PATIENCE)
    page.get_by_text(shown).first.wait_for(timeout=PATIENCE)


def test_dagsters_pages(addresses: tuple[str, str]) -> None:
    with browsing(addresses[0]) as page:
        click(page, "link", "Jobs", "ablations")
        click(page, "link", "retrain", "Raw episodes to champion")
        page.goto(f"{addresses[0]}/locations/pipelines.definitions/jobs/retrain/playground")
        page.get_by_text("profile: demo").wait_for(timeout=PATIENCE)
        page.goto(f"{addresses[0]}/assets/stage2")
        click(page, "link", "View in graph", "dead_groups")
        click(page, "link", "Automation", "data_arrived")


def test_mlflows_pages(addresses: tuple[str, str]) -> None:
    with browsing(addresses[1], known=MLFLOWS) as page:
        click(page, "button", "Model training", "Model registry")
        click(page, "link", "Experiments", "tracer-promotions")
        click(page, "link", "tracer", "evaluate-stage2 test seed0")
        click(page, "link", "stage2 test seed0", "tracer.digest")
        click(page, "link", "Model registry", "tracer-planner")
        page.keyboard.press("Escape")  # MLflow presents its registry to those who come for the first time
        click(page, "link", "tracer-planner", "champion")
        click(page, "link", "Version 1", "tracer reproduce")
        page.goto(f"{addresses[1]}/#/experiments/1")
        click(page, "link", "Traces", "Click One")

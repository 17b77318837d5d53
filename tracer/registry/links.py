"""Where people open what is registered: the addresses of MLflow's pages."""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit, urlunsplit

from tracer.registry.settings import RegistryConfig


def pages(config: RegistryConfig) -> str:
    """The address of MLflow's pages: ``registry.pages``, the server's without a password, or that of `make dev`."""
    server = urlsplit(config.pages or config.tracking_uri)
    if server.scheme in ("http", "https"):
        return urlunsplit((server.scheme, server.netloc.rpartition("@")[2], server.path.rstrip("/"), "", ""))
    return f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT') or 5000}"


def run_page(config: RegistryConfig, experiment_id: str, run_id: str, artifact: str = "") -> str:
    """The page of a run, or of one of its artifacts."""
    page = f"{pages(config)}/#/experiments/{experiment_id}/runs/{run_id}"
    return f"{page}/artifacts/{quote(artifact)}" if artifact else page


def version_page(config: RegistryConfig, name: str, number: int) -> str:
    """The page of a registered model's version."""
    return f"{pages(config)}/#/models/{quote(name, safe='')}/versions/{number}"

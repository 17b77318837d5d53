"""A trainer's credentials register versions and move no alias; a promoter's do both. On a real MLflow with users."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests import services
from tests.folders import STATES, Chain
from tracer import cli
from tracer.config import Config
from tracer.registry import promotion, record, register, roles, tracking, versions
from tracer.registry.tracking import RegistryError

ROOT = Path(__file__).parents[2]
PASSWORD = "not a secret, as it is only here"  # pragma: allowlist secret
RIGHT, ONLINE = [1.0] * STATES, [1.0] * 24
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow with the settings of infra/, on SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    settings = configparser.ConfigParser()
    settings.read(ROOT / "infra/docker/mlflow-auth.ini", encoding="utf-8")
    settings["mlflow"]["database_uri"] = f"sqlite:///{folder}/users.db"
    settings["mlflow"]["auth_cache_ttl_seconds"] = "600"  # or every request hashes the password
    with (folder / "auth.ini").open("w", encoding="utf-8") as file:
        settings.write(file)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": PASSWORD,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    port = services.free_port()
    words = ["mlflow", "server", "--app-name", "basic-auth", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        services.answers(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        for each in [process, *psutil.Process(process.pid).children(recursive=True)]:
            each.kill()
        process.wait(timeout=30)


def test_a_trainer_registers_and_cannot_promote_and_a_promoter_can(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def become(user: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", user)
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)

    monkeypatch.chdir(tmp_path)
    registry = {"tracking_uri": address, "policy": str(ROOT / "mlflow/promotion.yaml")}
    config = Config.model_validate({"profile": "test", "data": {"pointer": ""}, "registry": registry})
    become("admin")
    for user in ("nightly", "anna"):
        body = {"username": user, "password": PASSWORD}
        assert requests.post(f"{address}/api/2.0/mlflow/users/create", json=body, auth=("admin", PASSWORD)).ok
    (tmp_path / "params.yaml").write_text("profile: test\nprofiles: {test: {}}\n", encoding="utf-8")
    given = ["--set", f"registry.tracking_uri={address}"]
    for role in ("promoter", "trainer"):  # the second takes what the first gave
        assert cli.main(["grant", "nightly", role, *given]) == 0
    assert cli.main(["grant", "anna", "promoter", *given]) == 0
    assert "tracer-planner-decisions  EDIT" in capsys.readouterr().out

    become("nightly")
    with pytest.raises(RegistryError, match=r"does not grant MANAGE on tracer-planner to nightly \(HTTP 403"):
        roles.grant(config.registry, "nightly", "promoter")
    chain = Chain(config)
    evaluations, base = chain.stage2(1, RIGHT, ONLINE), chain.base([0.0] * STATES, ONLINE)
    version = register.register(config, config.out("stage2"), evaluations)
    assert (version.version, version.tags[versions.AUTHOR]) == (1, "nightly") and version.aliases == ("challenger",)
    refused(lambda: promotion.promote(config, base, chain.ingest), "you may not decide on versions.*tracer grant")
    client, name = tracking.connect(config.registry), config.registry.model
    refused(lambda: record.move(client, config.registry, 1), "nightly may not move the alias")
    attempts: list[Callable[[], object]] = [
        lambda: client.set_registered_model_alias(name, "champion", "1"),
        lambda: client.rename_registered_model(name, "elsewhere"),
        lambda: client.delete_registered_model_alias(name, "challenger2"),
        lambda: client.delete_model_version(name, "1"),
        lambda: client.create_model_version(record.name_of(config.registry), source=f"models:/{version.model_id}"),
    ]
    for attempt in attempts:
        with pytest.raises(tracking.mlflow_error(), match=r"PERMISSION_DENIED|Permission denied|may not"):
            attempt()
    for path in ("api", "ajax-api"):
        body = {"name": name, "alias": "champion", "version": "1"}
        answer = requests.post(
            f"{address}/{path}/2.0/mlflow/registered-models/alias", json=body, auth=("nightly", PASSWORD)
        )
        assert answer.status_code == 403 and "nightly may not move the alias 'champion'" in answer.json()["message"]
    assert tracking.alias(client, name, "champion") is None and promotion.history(config.registry) == []

    become("anna")
    decision = promotion.promote(config, base, chain.ingest)
    assert (decision.champion, decision.by) == (1, "anna"), decision.reason
    assert versions.version_of(f"{name}@champion", config.registry).version == 1
    become("nightly")
    refused(lambda: record.move(client, config.registry, None), "you may not move the alias 'champion'")
    refused(lambda: promotion.adopt(config.registry, "mine"), "nothing to adopt")
    assert versions.version_of(f"{name}@champion", config.registry).version == 1


def refused(attempt: Callable[[], object], why: str) -> None:
    with pytest.raises(RegistryError, match=why):
        attempt()

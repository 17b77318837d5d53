"""A registry on a server, PostgreSQL and S3 behind it: backed up, restored as a local one, cleaned, and listened to."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import shutil
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
from cryptography.fernet import Fernet

from tests import checkouts, services, traced
from tracer import cli
from tracer.config import Config, load
from tracer.lineage.digest import content_digest
from tracer.registry import backup, gc, promotion, rebuild, record, tracking, verify, versions, webhooks
from tracer.settings import ConfigError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
LOCAL = checkouts.config
SECRET = "between the two of us"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server, and in this process the environment in which its files are found."""
    folder = tmp_path_factory.mktemp("server")
    webhook = {
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "1",
    }
    with services.s3() as s3, services.postgres("mlflow") as at, pytest.MonkeyPatch.context() as patch:
        for name, value in s3.items():
            patch.setenv(name, value)
        database = f"postgresql+psycopg2://{at['user']}:{at['password']}@{at['host']}:{at['port']}/mlflow"
        with services.mlflow_server(database, {**s3, **webhook}, folder / "log") as found:
            yield found


@pytest.fixture(scope="module")
def team(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout whose registry is on the server: a champion, a better one of other data, rolled back."""
    root = tmp_path_factory.mktemp("team") / "checkout"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkouts, "config", lambda: load(overrides=[f"registry.tracking_uri={address}"]))
        with checkouts.retrained(root):
            promotion.rollback(checkouts.config().registry, "it buys things")
            yield root


def served(address: str) -> Config:
    return load(overrides=[f"registry.tracking_uri={address}"])


def test_a_backup_is_a_local_registry_with_the_same_numbers(team: Path, address: str, tmp_path: Path) -> None:
    config, folder = served(address), tmp_path / "backup"
    before, client = promotion.history(config.registry), tracking.connect(config.registry)
    every = {each.version: each for each in versions.every(config.registry)}
    runs = {run: client.get_run(run) for each in every.values() for run in (each.run_id, *each.evaluations().values())}
    documents = {number: rebuild.document_of(each.uri, config.registry) for number, each in every.items()}
    traces = traced.logged(client, every[1].run_id, tmp_path / "online-stage2")
    found = backup.backup(config, folder)
    assert (found["versions"], found["champion"], len(found["data"])) == ([1, 2], 1, 2)
    with pytest.MonkeyPatch.context() as patch:
        checkouts.run("git", "clone", "--quiet", str(folder / backup.CODE), str(tmp_path / "new" / "checkout"))
        checkouts.enter(tmp_path / "new" / "checkout", patch)
        local = LOCAL()
        assert backup.restore(local, folder) == found
        shutil.rmtree(folder)
        patch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # the server's files are not asked for
        patch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
        assert promotion.history(local.registry) == before and record.settle(local.registry).champion == 1
        restored = {each.version: each for each in versions.every(local.registry)}
        for number, each in every.items():
            again = restored[number]
            assert (again.tags, again.aliases, again.run_id, again.model_id) == (
                each.tags, each.aliases, each.run_id, each.model_id,
            )  # fmt: skip
            weights = versions.model(again.uri, local.registry)
            assert content_digest(weights) == each.tags[versions.WEIGHTS] and weights.is_relative_to(tmp_path / "new")
            assert rebuild.document_of(again.uri, local.registry) == documents[number]
        mlflow = tracking.connect(local.registry)
        assert traced.found(mlflow, every[1].run_id) == traces
        for run, then in runs.items():
            now = mlflow.get_run(run)
            assert (now.data.params, now.data.metrics, now.data.tags) == (
                then.data.params, then.data.metrics, then.data.tags,
            )  # fmt: skip
            assert [each.dataset.digest for each in now.inputs.dataset_inputs] == [
                each.dataset.digest for each in then.inputs.dataset_inputs
            ]
        assert [finding for finding in verify.verify(local) if not finding.ok] == []
        made = mlflow.create_model_version("tracer-planner", source=every[1].uri)
        assert int(made.version) == 3  # it goes on counting


def test_gc_frees_the_files_of_what_was_deleted(team: Path, address: str) -> None:
    config = served(address)
    client = tracking.connect(config.registry)
    run = client.create_run(tracking.experiment(client, config.registry, config.registry.experiment))
    client.log_text(run.info.run_id, "x" * 1000, "large.txt")
    client.delete_run(run.info.run_id)
    stored = boto3.resource("s3").Bucket(services.BUCKET)

    def there() -> bool:
        return any(run.info.run_id in each.key for each in stored.objects.all())

    (found,) = [each for each in gc._registry(config, dry_run=True) if each.where == run.info.run_id]
    assert found.what == "files of a deleted run" and there()
    assert [each.where for each in gc._registry(config, dry_run=False)].count(run.info.run_id) == 1 and not there()
    assert run.info.run_id not in [each.where for each in gc._registry(config, dry_run=False)]
    assert [finding for finding in verify._record(config.registry) if not finding.ok] == []
    for version in versions.every(config.registry):
        assert versions.model(version.uri, config.registry)


class Receiver(BaseHTTPRequestHandler):
    """Keeps what was posted, and whether its signature is right: as docs/operations.md says."""

    got: ClassVar[list[tuple[bool, dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        message = f"{self.headers['X-MLflow-Delivery-Id']}.{self.headers['X-MLflow-Timestamp']}.{body}"
        mac = hmac.new(SECRET.encode(), message.encode(), hashlib.sha256)
        signature = "v1," + base64.b64encode(mac.digest()).decode()
        self.got.append((hmac.compare_digest(self.headers["X-MLflow-Signature"], signature), json.loads(body)))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[str]:
    Receiver.got.clear()
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/champion"
    server.shutdown()


def told(model: str) -> dict[str, Any]:
    """The message about its champion."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        for signed, message in Receiver.got:
            assert signed, message
            if message["data"] == {"name": model, "alias": "champion", "version": "1"}:
                return message
        time.sleep(0.5)
    raise AssertionError(Receiver.got)


def test_others_are_told_signed_when_the_champion_moves(
    address: str, receiver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("profile: test\nprofiles: {test: {registry: {model: told}}}\n", encoding="utf-8")
    uri = ["--set", f"registry.tracking_uri={address}"]
    config = served(address).registry
    client = tracking.connect(config)
    tracking.registered_model(client, config.model, "Whose alias moves.")
    run = client.create_run(tracking.experiment(client, config, config.experiment))
    client.create_model_version(config.model, source=run.info.artifact_uri, run_id=run.info.run_id)
    monkeypatch.delenv(webhooks.SECRET, raising=False)
    assert cli.main(["webhook", receiver, *uri]) == 2 and webhooks.SECRET in capsys.readouterr().err
    monkeypatch.setenv(webhooks.SECRET, "an old one")
    first = webhooks.subscribe(config, receiver)
    monkeypatch.setenv(webhooks.SECRET, SECRET)
    assert cli.main(["webhook", receiver, *uri]) == 0 and first in capsys.readouterr().out
    time.sleep(2)  # the server asks for its webhooks every second
    record.move(client, config, 1)
    message = told(config.model)
    assert (message["entity"], message["action"]) == ("model_version_alias", "created")
    with pytest.raises(ConfigError, match="sent by MLflow's server"):
        webhooks.subscribe(LOCAL().registry, receiver)

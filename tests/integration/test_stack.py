"""`make stack`: it asks for logins, survives kills, and loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yaml
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests import services, stacks
from tests.integration.test_pipeline import POLICY

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CONTENT = b"kept" * 100_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stacks.Running]:
    services.programs()
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("params.yaml", "data", "data.dvc"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "mlflow").mkdir()
    (folder / "mlflow" / "promotion.yaml").write_text(yaml.safe_dump(POLICY), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT), prepend=":")
        patch.setenv("OMP_NUM_THREADS", "1")
        with stacks.running(folder) as found:
            found.s3().put_object(Bucket=services.BUCKET, Key="kept", Body=CONTENT)
            yield found


def test_whoever_has_no_login_or_a_wrong_one_is_refused(stack: stacks.Running) -> None:
    pages = {"3000": ("/server_info", "DAGSTER"), "5000": ("/api/2.0/mlflow/experiments/get?experiment_id=0", "MLFLOW")}
    for port, (page, who) in pages.items():
        address = stack.address(port) + page
        name, password = stack.secret(f"{who}_USER"), stack.secret(f"{who}_PASSWORD")
        for login in (None, (name, "wrong"), ("nobody", password), (name, ""), ("admin", "password1234")):
            assert requests.get(address, auth=login, timeout=60).status_code == 401, (port, login)
        assert requests.get(address, auth=(name, password), timeout=60).status_code == 200
    asked = {"query": "{ version }"}
    assert requests.post(stack.address("3000") + "/graphql", json=asked, timeout=60).status_code == 401
    unsigned: dict[str, Any] = {"config": Config(signature_version=UNSIGNED)}
    once: dict[str, Any] = {"config": Config(retries={"max_attempts": 1})}
    for client in (stack.s3(**unsigned), stack.s3(secret="wrong", **once), stack.s3(key="nobody", **once)):
        for call, more in (("list_buckets", {}), ("get_object", {"Bucket": "tracer", "Key": "kept"}),
                           ("put_object", {"Bucket": "tracer", "Key": "new", "Body": b""})):  # fmt: skip
            with pytest.raises(ClientError) as refused:
                getattr(client, call)(**more)
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_everything_listens_on_the_loopback_interface_alone(stack: stacks.Running) -> None:
    found = {
        (name, each.laddr.ip.removeprefix("::ffff:"))
        for name in stacks.SERVERS
        for process in stack.processes(name)
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    }
    assert {name for name, _ in found} >= set(stacks.SERVERS) - {"daemon", "postgres"}
    assert {address for _, address in found} <= {"127.0.0.1", "::1"}


def test_started_again_it_changes_nothing_and_what_is_killed_comes_back(stack: stacks.Running) -> None:
    pids = {name: stack.pid(name) for name in stacks.SERVERS}
    stack.do("up")
    assert {name: stack.pid(name) for name in stacks.SERVERS} == pids
    stack.kill("s3")
    assert stack.s3().get_object(Bucket=services.BUCKET, Key="kept")["Body"].read() == CONTENT
    # MLflow's workers outlive it, and hold its port until the next one ends them.
    left = [process.pid for process in stack.processes("mlflow")]
    assert len(left) > 1
    stack.kill("mlflow")
    assert not any(psutil.pid_exists(pid) for pid in left)

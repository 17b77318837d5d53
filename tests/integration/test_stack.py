"""`make stack`: it asks for logins, survives kills, and loses nothing."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from dagster_graphql import DagsterGraphQLClient
from requests.auth import HTTPBasicAuth

from tests import services, stacks
from tracer.config import load
from tracer.lineage.digest import content_digest
from tracer.registry import promotion, versions

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
CONTENT = b"kept" * 100_000
PROFILE = "quarter"
"""Its chain takes minutes: something trains each time that something is killed."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[stacks.Running]:
    services.programs()
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "mlflow").mkdir()
    for name in ("params.yaml", "data", "data.dvc", f"mlflow/{PROFILE}.yaml"):
        (folder / name).symlink_to(ROOT / name)
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
    wrong = stack.s3(secret="wrong", **once)  # pragma: allowlist secret
    for client in (stack.s3(**unsigned), wrong, stack.s3(key="nobody", **once)):
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


def submit(stack: stacks.Running, build: str) -> str:
    """Ask Dagster, through the proxy, for the whole chain; the run's id."""
    login = HTTPBasicAuth(stack.secret("DAGSTER_USER"), stack.secret("DAGSTER_PASSWORD"))
    client = DagsterGraphQLClient("127.0.0.1", port_number=int(stack.stack.ports["3000"]), auth=login, timeout=300)
    config = {"profile": PROFILE, "settings": [f"build={build}"]}
    return str(client.submit_job_execution("retrain", run_config={"resources": {"tracer": {"config": config}}}))


def runs(stack: stacks.Running) -> list[dict[str, Any]]:
    """Dagster's runs, the newest first; none where it does not answer."""
    query = "{runsOrError{...on Runs{results{runId rootRunId status}}}}"
    login = (stack.secret("DAGSTER_USER"), stack.secret("DAGSTER_PASSWORD"))
    try:
        answer = requests.post(stack.address("3000") + "/graphql", json={"query": query}, auth=login, timeout=60).json()
    except requests.RequestException:
        return []
    return list(((answer.get("data") or {}).get("runsOrError") or {}).get("results") or [])


def finished(stack: stacks.Running, first: str) -> bool:
    """Whether a run, or what was started again in its place, came to its end."""
    return any(each["status"] == "SUCCESS" and first in (each["runId"], each["rootRunId"]) for each in runs(stack))


def training(stack: stacks.Running) -> list[psutil.Process]:
    """The processes that train."""
    found = []
    for process in stack.processes("code"):
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "train" in words and "pipelines.supervisor" not in words:
            found.append(process)
    return found


@pytest.fixture(scope="module")
def chains(stack: stacks.Running) -> list[str]:
    """The outputs of an undisturbed chain, and of two at once during which one part after the other is killed."""
    calm = submit(stack, "calm")
    stack.until("an undisturbed chain", lambda: finished(stack, calm), 1800)
    both = [submit(stack, name) for name in ("one", "two")]
    for name in ("postgres", "mlflow", "s3", "daemon", "code"):
        # Each time while something trains: what is killed before would be missed by nobody.
        stack.until(f"something trains, to kill {name}", lambda: bool(training(stack)), 1800)
        stack.kill(name)
    stack.until("something trains, to be killed", lambda: bool(training(stack)), 1800)
    training(stack)[0].kill()
    for name, run in zip(("one", "two"), both, strict=True):
        stack.until(f"chain {name} after the kills", functools.partial(finished, stack, run), 1800)
    return ["calm", "one", "two"]


def test_two_chains_at_once_survive_the_death_of_each_part(stack: stacks.Running, chains: list[str]) -> None:
    calm, *others = (stack.checkout / name / PROFILE / "seed0" for name in chains)
    for stage in ("stage1", "stage2"):
        files = sorted(path.relative_to(calm) for path in (calm / stage / "model").iterdir())
        assert Path(stage, "model", "model.safetensors") in files
        for other in others:
            assert all((calm / name).read_bytes() == (other / name).read_bytes() for name in files), other
            then, now = ((each / stage / "metrics.jsonl").read_text(encoding="utf-8") for each in (calm, other))
            assert then == now


def test_nothing_is_lost(stack: stacks.Running, chains: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = {(each["runId"], each["status"]) for each in runs(stack)}
    stack.do("down")
    assert not any(stack.processes(name) for name in stacks.SERVERS)
    stack.do("up")
    assert {(each["runId"], each["status"]) for each in runs(stack)} == before
    assert stack.s3().get_object(Bucket=services.BUCKET, Key="kept")["Body"].read() == CONTENT
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", stack.secret("MLFLOW_USER"))
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", stack.secret("MLFLOW_PASSWORD"))
    config = load(PROFILE, [f"registry.tracking_uri={stack.address('5000')}"])
    found = versions.every(config.registry)
    assert found and len(promotion.history(config.registry)) >= len(found)
    calm = content_digest(stack.checkout / "calm" / PROFILE / "seed0" / "stage2" / "model")
    for version in found:
        assert content_digest(versions.model(version.uri, config.registry)) == calm


def test_no_secret_is_in_a_log_an_event_a_lineage_or_a_command(stack: stacks.Running, chains: list[str]) -> None:
    names = [name for name in stack.stack.secrets if name.endswith(("_PASSWORD", "_KEY"))]
    planted = {name: stack.secret(name).encode() for name in names}
    assert len(planted) >= 9
    for name in stacks.SERVERS:
        for process in stack.processes(name):
            words = " ".join(process.cmdline()).encode()
            assert not [secret for secret, value in planted.items() if value in words], process
    folders = [stack.stack.folder, *(stack.checkout / name for name in (*chains, "mlflow"))]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert len(files) > 500 and any("lineage" in path.name for path in files)
    for path in files:
        if path != stack.stack.secrets_file:
            content = path.read_bytes()
            assert not [secret for secret, value in planted.items() if value in content], path
    # PostgreSQL compresses what is long: so the text of its tables as well.
    for database in ("dagster", "mlflow"):
        environment = stack.stack.environment("postgres") | {"PGPASSWORD": stack.secret("POSTGRES_PASSWORD")}
        address = ["--host", "127.0.0.1", "--port", stack.stack.ports["5432"], "--username", "postgres"]
        dump = subprocess.run(["pg_dump", *address, database], env=environment, capture_output=True, check=True).stdout
        assert len(dump) > 10_000
        assert not [secret for secret, value in planted.items() if value in dump], database

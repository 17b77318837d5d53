"""A run whose code server was killed is noticed; tests/integration/test_stack.py kills a real one."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import serialize_value

from pipelines.dead_runs import PROCESS
from pipelines.home import SETTINGS
from pipelines.launcher import WatchedRunLauncher
from tests.services import free_port
from tracer.registry import tracking

NOWHERE = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": free_port()})}
NO_SOCKET = {GRPC_INFO_TAG: json.dumps({"host": "localhost", "socket": "/nowhere/socket"})}
GONE = f"{socket.gethostname()}/1/0"


@pytest.mark.parametrize(
    ("tags", "known", "status"),
    [
        ({}, None, WorkerStatus.RUNNING),  # nobody launched it
        (NOWHERE, None, WorkerStatus.RUNNING),  # the server does not answer
        ({**NOWHERE, PROCESS: tracking.writer()}, None, WorkerStatus.RUNNING),
        ({**NOWHERE, PROCESS: GONE}, None, WorkerStatus.RUNNING),  # it comes again, and then the run is started again
        (NO_SOCKET, None, WorkerStatus.RUNNING),
        ({**NO_SOCKET, PROCESS: tracking.writer()}, None, WorkerStatus.RUNNING),
        ({**NO_SOCKET, PROCESS: GONE}, None, WorkerStatus.FAILED),  # and the server's socket is, too
        ({**NO_SOCKET, PROCESS: "elsewhere/1/0"}, None, WorkerStatus.RUNNING),  # nobody here can tell
        (NOWHERE, True, WorkerStatus.RUNNING),
        (NOWHERE, False, WorkerStatus.FAILED),
    ],
)
def test_a_run_is_failed_if_its_server_does_not_know_it(
    tags: dict[str, str], known: bool | None, status: WorkerStatus, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        launcher = WatchedRunLauncher()
        launcher.register_instance(instance)
        run = create_run_for_test(instance, status=dg.DagsterRunStatus.STARTED, tags=tags)

        def answer(request: CanCancelExecutionRequest) -> str:
            assert request.run_id == run.run_id
            return serialize_value(CanCancelExecutionResult(can_cancel=bool(known)))

        if known is not None:
            server: Any = SimpleNamespace(can_cancel_execution=answer)
            monkeypatch.setattr(launcher, "_get_grpc_client_for_termination", lambda run_id: server)
        assert launcher.supports_check_run_worker_health
        assert launcher.check_run_worker_health(run).status == status


def test_make_dev_has_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    shutil.copy(SETTINGS, tmp_path)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_launcher, WatchedRunLauncher)

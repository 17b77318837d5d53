"""Dagster's own launcher, which also says whether a run's process is still there; for infra/dagster*.yaml."""

from __future__ import annotations

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

from pipelines import dead_runs


class WatchedRunLauncher(DefaultRunLauncher):
    """Runs are processes of the code server. If that is killed, so are they, and Dagster asks nobody about them: they
    would be shown as running for ever. The server that has taken its place knows which runs it has.
    """

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes: Dagster's monitoring asks, and starts a failed run again."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Failed, if the code server does not know the run; a server that does not answer is asked again later.

        That of `dagster dev`, on a socket, is gone for good if it was killed: the process that the run names tells. One
        with a port is waited for, even if that process is gone: Dagster tries only once to start a failed run again,
        and needs the server for it.
        """
        client = self._get_grpc_client_for_termination(run.run_id)
        if client is None:  # nobody launched it: `tracer demo`
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            answer = client.can_cancel_execution(CanCancelExecutionRequest(run_id=run.run_id))
        except DagsterUserCodeUnreachableError:
            process = run.tags.get(dead_runs.PROCESS)
            if client.port is None and process is not None and not dead_runs.alive(process):
                return CheckRunHealthResult(WorkerStatus.FAILED, f"its process {process} ended before it was done")
            return CheckRunHealthResult(WorkerStatus.RUNNING, "the code server does not answer")
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.FAILED, "the code server was started again, and does not know the run")

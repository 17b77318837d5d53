"""A pod that runs a command, through Dagster's PipesK8sClient.

What becomes of the pod is seen within a minute. Left alone, dagster-k8s 0.29.27 waits for a day for a pod that was
deleted (dagster#22453) or evicted before its container started, ends after a day, and takes the end of a log stream
for the pod's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any

import dagster as dg
from dagster_k8s import PipesK8sClient
from dagster_k8s.client import DagsterK8sError
from kubernetes.client import ApiException, CoreV1Api, V1Pod
from urllib3.exceptions import HTTPError, ReadTimeoutError

from pipelines.processes import REPORTED
from tracer.capacity.pods import LABELS

POLL_SECONDS = 5.0
ATTEMPTS = 12
"""How often Kubernetes is asked before it is taken for gone: a minute."""
SILENT_SECONDS = 20
"""How long a log stream may say nothing before the pod is looked at; the stream is then taken up where it was."""
UNREACHABLE_SECONDS = 30.0
"""How long a pod may outlive the end that was set for it: its node does not answer."""
OUTPUT = "tracer/output"
"""The label by which the pods that write into a folder are known."""


def run(context: Any, spec: dict[str, Any], namespace: str, output: str) -> None:
    """Run a pod to its end; raises ``dg.Failure``, which says whether to try again.

    A pod that an earlier run left behind, writing into ``output``, is ended first.
    """
    label = sha256(output.encode()).hexdigest()[:32]
    client = Client(poll_interval=POLL_SECONDS)
    try:
        client._load_k8s_config()  # from the pod that this is in, or $KUBECONFIG
        end_others(namespace, f"{OUTPUT}={label}")
        client.run(
            context=context,
            namespace=namespace,
            base_pod_meta={"labels": {**LABELS, OUTPUT: label}},
            base_pod_spec=spec,
            pod_wait_timeout=0,
        )
    except (DagsterK8sError, ApiException, HTTPError) as error:
        code = None if client.watched is None else client.watched.code
        raise dg.Failure(
            f"the pod of `{' '.join(spec['containers'][0]['args'])}` "
            f"{f'ended with code {code}' if code else 'is lost'}: {error}\n"
            f"Run it again: it continues from its last checkpoint",
            allow_retries=code not in REPORTED,
        ) from error


def end_others(namespace: str, selector: str) -> None:
    """End the pods of a selector, and wait until they are gone. Raises ``DagsterK8sError`` if one is not."""
    api = CoreV1Api()
    for _ in range(ATTEMPTS):
        if not asked(lambda: api.list_namespaced_pod(namespace, label_selector=selector)).items:
            return
        asked(lambda: api.delete_collection_namespaced_pod(namespace, label_selector=selector))
        time.sleep(POLL_SECONDS)
    raise DagsterK8sError(f"a pod with the label {selector} does not end; two may not write into the same folder")


def asked(call: Callable[[], Any]) -> Any:
    """What Kubernetes answers, which may be away for a minute."""
    for left in reversed(range(ATTEMPTS)):
        try:
            return call()
        except (ApiException, HTTPError) as error:
            if not left or (error.status or 500 if isinstance(error, ApiException) else 500) < 500:
                raise
            time.sleep(POLL_SECONDS)


class Client(PipesK8sClient):
    """Dagster's client, which sees its pod through ``Watched``."""

    watched: Watched | None = None

    @contextmanager
    def consume_pod_logs(self, context: Any, client: Any, *given: Any, **options: Any) -> Iterator[None]:
        """As the base class does it."""
        client.core_api = self.watched = Watched(client.core_api)
        with super().consume_pod_logs(context, client, *given, **options):
            yield


class Watched:
    """Kubernetes' API for a pod that was created: the calls of dagster-k8s, which raise where it would wait."""

    def __init__(self, api: CoreV1Api) -> None:
        self._api = api
        self.code: int | None = None
        """What its command ended with."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    def list_namespaced_pod(self, namespace: str, field_selector: str) -> Any:
        """The pod; raises ``DagsterK8sError`` if there is none any more, or if it will never end."""
        found = asked(lambda: self._api.list_namespaced_pod(namespace, field_selector=field_selector))
        if not found.items:
            raise DagsterK8sError("it was deleted, or its node is gone")
        pod = found.items[0]
        states = pod.status.container_statuses or []
        self.code = next((each.state.terminated.exit_code for each in states if each.state.terminated), None)
        if pod.status.phase == "Failed" and not states:
            raise DagsterK8sError(f"{pod.status.reason}: {pod.status.message}")
        if self.code is None and (pod.status.phase == "Unknown" or _overdue(pod)):
            raise DagsterK8sError("its node does not answer")
        return found

    def read_namespaced_pod_log(self, name: str, namespace: str, **options: Any) -> Any:
        """The log. A stream that is silent, or ends before the pod, is asked for again, which is no failure."""
        if not options.get("follow"):
            return self._api.read_namespaced_pod_log(name, namespace, **options)
        return self._followed(name, namespace, **{**options, "_request_timeout": SILENT_SECONDS})

    def delete_namespaced_pod(self, name: str, namespace: str) -> None:
        """Remove the pod, if it is still there."""
        with suppress(ApiException, HTTPError):  # ``end_others`` removes it before the next one starts
            self._api.delete_namespaced_pod(name, namespace)

    def _followed(self, name: str, namespace: str, **options: Any) -> Iterator[bytes]:
        broken: Exception | None = None
        try:
            yield from self._api.read_namespaced_pod_log(name, namespace, **options)
        except (ApiException, HTTPError) as error:
            broken = error
        try:
            self.list_namespaced_pod(namespace, f"metadata.name={name}")
        except DagsterK8sError:
            return  # whoever waits for the pod is told
        if self.code is None:
            time.sleep(min(1.0, POLL_SECONDS))
            raise ReadTimeoutError(None, name, "the stream ended before the pod")  # type: ignore[arg-type]
        if broken is not None:
            raise broken


def _overdue(pod: V1Pod) -> bool:
    end = pod.metadata.deletion_timestamp
    return end is not None and time.time() > end.timestamp() + UNREACHABLE_SECONDS

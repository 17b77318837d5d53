"""A small Kubernetes: the calls of its API that Dagster makes for pods and jobs, and a kubelet that really runs them.

``Cluster(folder)`` serves on a free port; ``kubeconfig`` is written beside it. A pod's command is a process of this
machine in ``folder``, and its output the pod's log. The methods of ``Cluster`` are what can happen to a pod.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml


class Pod:
    """One pod: its document, its process and its log."""

    def __init__(self, document: dict[str, Any], folder: Path, runs: bool = True) -> None:
        self.name: str = document["metadata"]["name"]
        self.labels: dict[str, str] = document["metadata"].get("labels", {})
        self.document = document
        self.lines: list[tuple[float, str]] = []
        self.streams = 0
        self.status: dict[str, Any] = {"phase": "Pending"}
        self.process: subprocess.Popen[str] | None = None
        if runs:
            self._start(folder)

    def _start(self, folder: Path) -> None:
        container = self.document["spec"]["containers"][0]
        words = [sys.executable if word == "python" else word for word in container["args"]]
        given = {each["name"]: each["value"] for each in container.get("env", []) if "value" in each}
        self.process = subprocess.Popen(
            words, cwd=folder, env={**os.environ, **given}, encoding="utf-8",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self.state({"running": {"startedAt": now()}})
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        assert self.process is not None and self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append((time.time(), line.rstrip("\n")))
        code = self.process.wait()
        code = code if code >= 0 else 128 - code
        if "deletionTimestamp" not in self.document["metadata"]:
            self.state({"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}})

    def state(self, state: dict[str, Any]) -> None:
        """Set what the kubelet says of its container."""
        running, ended = "running" in state, state.get("terminated")
        container = {"name": self.document["spec"]["containers"][0]["name"], "state": state, "ready": running,
                     "restartCount": 0, "image": "image", "imageID": "image"}  # fmt: skip
        phase = "Running" if running else "Pending" if ended is None else "Failed" if ended["exitCode"] else "Succeeded"
        self.status = {"phase": phase, "containerStatuses": [container]}

    @property
    def ended(self) -> bool:
        """Whether nothing is written to its log any more."""
        return self.process is None or self.process.poll() is not None

    def end(self) -> None:
        """Kill its process, and all that this started."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, 9)
            self.process.wait()

    def shown(self) -> dict[str, Any]:
        """As the API shows it."""
        return {**self.document, "apiVersion": "v1", "kind": "Pod", "status": self.status}


class Cluster:
    """The API server, with every pod that it ever had in ``made``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.made: list[Pod] = []
        self.pods: dict[str, Pod] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.born: Callable[[dict[str, Any]], Pod] = lambda document: Pod(document, folder)
        self.cut: Callable[[Pod], int | None] = lambda pod: None
        """After how many lines a log stream is cut off; None: not before the end."""
        self.away = 0
        """How many requests are not answered properly from now on."""

    def gone(self, pod: Pod) -> None:
        """It vanishes, as when its node is taken away and the API server has forgotten it."""
        del self.pods[pod.name]
        pod.end()

    def drained(self, pod: Pod) -> None:
        """Its node is drained: SIGTERM to its command, and it stays to be looked at."""
        assert pod.process is not None
        pod.process.terminate()

    def unreachable(self, pod: Pod) -> None:
        """Its node went away: it is to be deleted, and nobody does it."""
        pod.document["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        pod.end()


def now() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


class Handler(BaseHTTPRequestHandler):
    """Answers the requests to ``cluster``."""

    cluster: Cluster
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def answer(self, document: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def missing(self) -> None:
        self.answer({"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}, 404)

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked, words = parse_qs(address.query), address.path.split("/")
        if self.cluster.away > 0:
            self.cluster.away -= 1
            self.answer({"kind": "Status", "code": 503}, 503)
        elif words[-1] == "log":
            self.log(words[-2], asked)
        elif words[-1] == "pods":
            found = [pod.shown() for pod in list(self.cluster.pods.values()) if chosen(pod.name, pod.labels, asked)]
            self.answer({"kind": "PodList", "items": found})
        elif words[-1] == "jobs":
            found = [each for name, each in self.cluster.jobs.items() if chosen(name, {}, asked)]
            self.answer({"kind": "JobList", "items": found})
        elif words[-1] == "status" and words[-2] in self.cluster.jobs:
            self.answer(self.cluster.jobs[words[-2]])
        elif words[-1] == "events":
            self.answer({"kind": "EventList", "items": []})
        else:
            self.missing()

    def log(self, name: str, asked: dict[str, list[str]]) -> None:
        pod = self.cluster.pods.get(name)
        if pod is None:
            return self.missing()
        pod.streams += 1
        follow, limit = "follow" in asked, self.cluster.cut(pod)
        since = time.time() - float(asked["sinceSeconds"][0]) if "sinceSeconds" in asked else 0.0
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Connection", "close")
        self.end_headers()
        sent = seen = 0
        while True:
            ended = pod.ended
            for at, line in pod.lines[seen:]:
                seen += 1
                if at < since:
                    continue
                if sent == limit:
                    return None
                stamp = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z ")
                self.wfile.write(f"{stamp if 'timestamps' in asked else ''}{line}\n".encode())
                self.wfile.flush()
                sent += 1
            if not follow or ended or name not in self.cluster.pods:
                return None
            time.sleep(0.02)

    def do_POST(self) -> None:
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/jobs"):
            self.cluster.jobs[document["metadata"]["name"]] = {**document, "status": {"active": 1, "startTime": now()}}
        else:
            pod = self.cluster.born(document)
            self.cluster.made.append(pod)
            self.cluster.pods[pod.name] = pod
        self.answer(document, 201)

    def do_DELETE(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        address = urlsplit(self.path)
        name, asked = address.path.rpartition("/")[2], parse_qs(address.query)
        several = [each for each in self.cluster.pods.values() if chosen(each.name, each.labels, asked)]
        found = several if name == "pods" else [each for each in self.cluster.pods.values() if each.name == name]
        if name != "pods" and not found:
            return self.missing()
        for pod in found:
            self.cluster.gone(pod)
        return self.answer({"kind": "Status", "status": "Success"})


def chosen(name: str, labels: dict[str, str], asked: dict[str, list[str]]) -> bool:
    """Whether a field selector of a name, or a label selector, is met."""
    fields, selector = asked.get("fieldSelector", [""])[0], asked.get("labelSelector", [""])[0]
    wanted = dict(each.split("=") for each in selector.split(",") if each)
    return (not fields or fields == f"metadata.name={name}") and wanted.items() <= labels.items()


@contextmanager
def serving(cluster: Cluster, kubeconfig: Path) -> Iterator[Cluster]:
    """Serve a cluster, and write how it is reached."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Ours", (Handler,), {"cluster": cluster}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    settings = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "users": [{"name": "test", "user": {}}],
    }
    kubeconfig.write_text(yaml.safe_dump(settings), encoding="utf-8")
    try:
        yield cluster
    finally:
        for pod in cluster.made:
            pod.end()
        server.shutdown()
        server.server_close()

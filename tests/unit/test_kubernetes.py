"""infra/k8s and the JobSets that `tracer manifest` prints: valid, complete, and no more rights than are needed."""

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tracer import cli, config
from tracer.capacity import jobset as jobsets
from tracer.capacity import pods

K8S = Path(__file__).parents[2] / "infra" / "k8s"
BASE = K8S / "base"
VERSIONS = ("1.31", kubernetes_validate.latest_version())
SPEC = {  # https://jobset.sigs.k8s.io/docs/reference/jobset.v1alpha2/: what we use of it
    "network": {"enableDNSHostnames", "publishNotReadyAddresses"},
    "successPolicy": {"operator", "targetReplicatedJobs"},
    "failurePolicy": {"maxRestarts", "rules"},
}


def valid(document: dict[str, Any]) -> None:
    """Raise if Kubernetes knows a key not, or misses one."""
    for version in VERSIONS:
        kubernetes_validate.validate(document, version, strict=True)


def files(folder: Path) -> Iterator[Path]:
    """The manifests that `kubectl apply -k` applies, and the kustomizations on the way."""
    path = folder / "kustomization.yaml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert (document["apiVersion"], document["kind"]) == ("kustomize.config.k8s.io/v1beta1", "Kustomization")
    assert set(document) <= {"apiVersion", "kind", "namespace", "resources", "images", "patches"}
    yield path
    for resource in document["resources"]:
        each = (folder / resource).resolve()
        # Kustomize takes a folder that this one is in for a cycle, and no file from outside this one.
        assert not folder.is_relative_to(each) and (each.is_dir() or each.is_relative_to(folder)), resource
        yield from files(each) if each.is_dir() else [each]


@cache
def manifests() -> list[dict[str, Any]]:
    found = [path for path in files(BASE) if path.name != "kustomization.yaml"]
    return [each for path in found for each in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def kind(name: str) -> list[dict[str, Any]]:
    return [each for each in manifests() if each["kind"] == name]


@pytest.fixture
def jobset(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    monkeypatch.chdir(K8S.parents[1])
    assert cli.main(["manifest", "stage1", "--profile", "qwen3vl-32b", "--set", "seed=3"]) == 0
    text = capsys.readouterr().out
    assert "&id" not in text
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def test_every_file_is_applied_and_valid() -> None:
    applied = list(files(BASE))
    assert len(applied) == len(set(applied))
    others = {K8S / "values.yaml", K8S / "gpu" / "kustomization.yaml"}
    assert {*applied, *others} == set(K8S.rglob("*.yaml"))
    assert set(files(K8S / "gpu")) >= set(applied)
    for document in manifests():
        valid(document)
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests()]
    assert len(names) == len(set(names))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl")
@pytest.mark.parametrize("folder", ["base", "gpu"])
def test_kustomize_builds_each_folder_that_is_applied(folder: str) -> None:
    done = subprocess.run(["kubectl", "kustomize", K8S / folder], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len(manifests())
    for each in built:
        valid(each)
        assert each["metadata"].get("namespace", "tracer") == "tracer"


@pytest.mark.parametrize("spec", [{"replica": 2}, {"replicas": "two"}])
def test_what_is_not_valid_is_seen(spec: dict[str, Any]) -> None:
    deployment = kind("Deployment")[0]
    with pytest.raises(kubernetes_validate.ValidationError):
        valid({**deployment, "spec": {**deployment["spec"], **spec}})


def test_what_the_chart_is_given_is_valid() -> None:
    values = yaml.safe_load((K8S / "values.yaml").read_text(encoding="utf-8"))
    code = values["dagster-user-deployments"]["deployments"][0]
    container = {key: code[key] for key in ("name", "env", "resources", "securityContext", "volumeMounts")}
    container["envFrom"] = [{"secretRef": each} for each in code["envSecrets"]]
    runs = values["runLauncher"]["config"]["k8sRunLauncher"]["runK8sConfig"]
    template = {"spec": {"containers": [container], "volumes": code["volumes"], "restartPolicy": "Never",
                         **runs["podSpecConfig"]}}  # fmt: skip
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "run"}}
    valid({**job, "spec": {"template": template, **runs["jobSpecConfig"]}})
    assert {each["name"]: each["value"] for each in container["env"]}["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    # A run whose pod is lost has to be noticed within a minute.
    assert values["dagsterDaemon"]["runMonitoring"]["pollIntervalSeconds"] <= 30


def test_serving_on_a_gpu_asks_for_it_as_training_does() -> None:
    [patch] = yaml.safe_load((K8S / "gpu" / "kustomization.yaml").read_text(encoding="utf-8"))["patches"]
    deployments = copy.deepcopy(kind("Deployment"))
    deployment = next(each for each in deployments if each["metadata"]["name"] == patch["target"]["name"])
    for change in yaml.safe_load(patch["patch"]):
        *way, last = [each.replace("~1", "/") for each in change["path"].split("/")[1:]]
        node: Any = deployment
        for step in way:
            node = node[int(step) if step.isdigit() else step]
        assert (last in node) == (change["op"] == "replace")
        node[last] = change["value"]
    valid(deployment)
    pod = deployment["spec"]["template"]["spec"]
    wanted = pods.spec(1, 8.0, pods.IMAGE, ["tracer"])
    assert pod["nodeSelector"] == wanted["nodeSelector"] and pod["tolerations"] == wanted["tolerations"][:1]
    assert pod["containers"][0]["resources"]["limits"].items() >= wanted["containers"][0]["resources"]["limits"].items()
    assert pod["containers"][0]["image"] == pods.IMAGE


def templates(jobset: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The pods of everything that is ours, by name."""
    jobs = {each["name"]: each["template"]["spec"]["template"] for each in jobset["spec"]["replicatedJobs"]}
    piped = {"metadata": {"labels": pods.LABELS}, "spec": pods.spec(1, 8.0, pods.IMAGE, ["tracer"])}
    return {each["metadata"]["name"]: each["spec"]["template"] for each in kind("Deployment")} | jobs | {"pipes": piped}


def test_pods_have_no_more_rights_than_they_need(jobset: dict[str, Any]) -> None:
    accounts = {each["metadata"]["name"]: each for each in kind("ServiceAccount")}
    priorities = {each["metadata"]["name"]: each["value"] for each in kind("PriorityClass")}
    assert priorities["tracer-serving"] > priorities["tracer-training"]
    assert not any("Role" in each["kind"] for each in manifests()), "nobody of ours asks Kubernetes for anything"
    for name, template in templates(jobset).items():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False, name
        assert accounts[pod["serviceAccountName"]]["automountServiceAccountToken"] is False, name
        assert pod["priorityClassName"] in priorities, name
        safe = pod["securityContext"]
        assert safe["runAsNonRoot"] and safe["runAsUser"] and safe["seccompProfile"]["type"] == "RuntimeDefault", name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}
            }, name  # fmt: skip
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert all("value" in each or "fieldRef" in each["valueFrom"] for each in container.get("env", [])), name
    secrets = {name: {each["secretRef"]["name"] for each in template["spec"]["containers"][0]["envFrom"]}
               for name, template in templates(jobset).items()}  # fmt: skip
    assert secrets["trainer"] == secrets["pipes"] == {"tracer-mlflow-trainer", "tracer-store"}
    assert secrets["tracer-serving"] == {"tracer-serving", "tracer-mlflow-reader"}


def test_a_disruption_leaves_one_of_each(jobset: dict[str, Any]) -> None:
    deployments = {each["metadata"]["name"]: each for each in kind("Deployment")}
    budgets = {each["metadata"]["name"]: each["spec"] for each in kind("PodDisruptionBudget")}
    assert set(budgets) == set(deployments)
    for name, budget in budgets.items():
        spec = deployments[name]["spec"]
        assert budget["selector"] == spec["selector"] and spec["replicas"] > budget["minAvailable"] > 0


def test_services_lead_to_pods_that_are_ready() -> None:
    for service in kind("Service"):
        labels = service["spec"]["selector"].items()
        [pod] = [each["spec"]["template"] for each in kind("Deployment")
                 if labels <= each["spec"]["template"]["metadata"]["labels"].items()]  # fmt: skip
        [container] = pod["spec"]["containers"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        [port] = service["spec"]["ports"]
        assert ports[port["targetPort"]] == port["port"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/health"
        assert str(port["port"]) in container["args"]


PODS = {
    "dagster": {"app.kubernetes.io/name": "dagster", "app.kubernetes.io/component": "run_worker"},
    "code": {"app.kubernetes.io/name": "dagster-user-deployments", "component": "user-deployments"},
    "webserver": {"app.kubernetes.io/name": "dagster", "component": "dagster-webserver"},
    "mlflow": {"app.kubernetes.io/name": "mlflow"},
    "serving": {"app.kubernetes.io/name": "tracer-serving"},
    "training": pods.LABELS,
}
"""Those of the chart as its templates label them."""
CASES = {
    ("dagster", "mlflow", 5000), ("code", "mlflow", 5000), ("webserver", "mlflow", 5000), ("serving", "mlflow", 5000),
    ("training", "mlflow", 5000), ("training", "training", 29513), ("training", "training", 8000),
    ("training", "training", 5000), ("training", "training", 5432), ("training", "training", 443),
    ("training", "training", 4000),
    *((source, target, 4000) for source in ("dagster", "code", "webserver")
      for target in ("dagster", "code", "webserver")),
}  # fmt: skip


def test_who_may_talk_to_whom() -> None:
    ports = (4000, 5000, 5432, 443, 8000, 29513)
    found = {
        (source, target, port)
        for source in PODS
        for target in PODS
        for port in ports
        if opens(PODS[source], "Egress", PODS[target], port) and opens(PODS[target], "Ingress", PODS[source], port)
    }
    assert found == CASES
    # Postgres and Kubernetes' API are elsewhere.
    outside = {
        name: {port for port in (5432, 443, 80) if opens(labels, "Egress", None, port)} for name, labels in PODS.items()
    }
    assert outside == {
        "dagster": {5432, 443},
        "code": {5432, 443},
        "webserver": {5432, 443},
        "mlflow": {5432},
        "serving": set(),
        "training": set(),
    }
    # From other namespaces, those with the label reach what they are for.
    for label, name, port in (("tracer/proxy", "webserver", 80), ("tracer/clients", "serving", 8000)):
        for each, labels in PODS.items():
            assert opens(labels, "Ingress", None, port, {label: "true"}) == (each == name)
            assert not opens(labels, "Ingress", None, port, {"kubernetes.io/metadata.name": "other"})
    assert all(opens(labels, "Egress", None, 53, {"kubernetes.io/metadata.name": "kube-system"})
               for labels in PODS.values())  # fmt: skip


def opens(
    pod: dict[str, str], way: str, peer: dict[str, str] | None, port: int, namespace: dict[str, str] | None = None
) -> bool:
    """Whether a pod's policies let it talk to a peer: one of the namespace, or one of another or outside (None)."""
    mine = [each["spec"] for each in kind("NetworkPolicy")
            if way in each["spec"]["policyTypes"] and selects(each["spec"]["podSelector"], pod)]  # fmt: skip
    assert mine, "the policy that forbids everything is for every pod"
    key = {"Ingress": "from", "Egress": "to"}[way]
    return any(
        (key not in rule or any(meets(each, peer, namespace) for each in rule[key]))
        and ("ports" not in rule or any(each["port"] == port for each in rule["ports"]))
        for spec in mine
        for rule in spec.get(way.lower(), [])
    )


def meets(rule: dict[str, Any], peer: dict[str, str] | None, namespace: dict[str, str] | None) -> bool:
    if "namespaceSelector" in rule:
        return namespace is not None and selects(rule["namespaceSelector"], namespace)
    return peer is not None and selects(rule["podSelector"], peer)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    several = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in several)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in several
    )


def test_a_jobset_is_what_its_reference_says(jobset: dict[str, Any]) -> None:
    """No package has its schema: its own keys are compared with the reference, and its jobs are Kubernetes' own."""
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    spec = jobset["spec"]
    assert set(spec) == {*SPEC, "ttlSecondsAfterFinished", "replicatedJobs"}
    assert all(set(spec[name]) == keys for name, keys in SPEC.items())
    [rule] = spec["failurePolicy"]["rules"]
    assert set(rule) == {"name", "action", "onJobFailureReasons"} and rule["action"] == "FailJobSet"
    for each in spec["replicatedJobs"]:
        assert set(each) == {"name", "replicas", "template"} and set(each["template"]) == {"spec"}
        valid({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": each["name"]}, **each["template"]})
        assert len(f"{jobset['metadata']['name']}-{each['name']}-0-31") <= 63  # a pod's name


@pytest.mark.parametrize(
    "profile", ["a_b", "a-b", "a.b", "GRÖSSE 2", "x" * 99, "x" * 98, "ends-", "tracer/../x", *config.profiles()]
)
def test_a_jobset_has_a_name_that_is_its_own(profile: str) -> None:
    given = f"tracer-{profile}-seed0-stage1"
    name = jobsets.named(given)
    pod = f"{name}-trainer-0-999-abcde"  # as JobSet's webhook checks it
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) and len(pod) <= 63
    assert (name == given) == (profile in ("a-b", "ends-", *config.profiles()))
    assert name not in {jobsets.named(f"tracer-{other}-seed0-stage1") for other in ("a:b", "x" * 97)}


def test_a_jobset_starts_what_the_profile_asks_for(jobset: dict[str, Any]) -> None:
    name = jobset["metadata"]["name"]
    assert name == "tracer-qwen3vl-32b-seed3-stage1"
    trainer, server = (each["template"]["spec"] for each in jobset["spec"]["replicatedJobs"])
    [worker], [vllm] = (each["template"]["spec"]["containers"] for each in (trainer, server))
    assert trainer["completions"] == trainer["parallelism"] == 4 and trainer["completionMode"] == "Indexed"
    assert worker["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    words = worker["args"]
    given = dict(pairwise(words))
    assert (given["--num_processes"], given["--num_machines"]) == ("32", "4")
    assert given["--machine_rank"] == "$(NODE_RANK)"  # which Kubernetes replaces
    index = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    assert {"name": "NODE_RANK", "valueFrom": {"fieldRef": {"fieldPath": index}}} in worker["env"]
    assert given["--main_process_ip"] == f"{name}-trainer-0-0.{name}"
    assert f"launch.vllm_host={name}-vllm-0-0.{name}" in words and "seed=3" in words
    assert vllm["args"][2:4] == ["vllm", "serve"]
    assert dict(pairwise(vllm["args"]))["--host"] == "$(POD_ADDRESS)"
    # Evicted, it starts again, and goes on from its checkpoint; an error that it reports ends it.
    count, fail = trainer["podFailurePolicy"]["rules"]
    assert count["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert fail["action"] == "FailJob" and fail["onExitCodes"]["values"] == [1, 2]
    assert worker["name"] == fail["onExitCodes"]["containerName"]
    assert jobset["spec"]["successPolicy"]["targetReplicatedJobs"] == ["trainer"]


def test_a_profile_that_cannot_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(K8S.parents[1])
    assert cli.main(["manifest", "stage1", "--profile", "qwen3vl-8b", "--gpu", "rtx-4090"]) == 2
    assert "stage1 needs" in capsys.readouterr().err
    assert cli.main(["manifest", "stage1", "--profile", "micro", "--gpu", "two-cores", "--json"]) == 0
    [job] = json.loads(capsys.readouterr().out)["spec"]["replicatedJobs"]
    [container] = job["template"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {} and container["image"] == pods.IMAGE_CPU
    assert container["args"][:5] == ["python", "-m", "tracer", "train", "stage1"]

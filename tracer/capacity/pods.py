"""The pod that a model runs in: GPUs, nodes, volume and rights, said once.

Dagster's tags and its pods (pipelines/), the JobSet of a stage (``jobset``) and infra/k8s agree with it. Keys are
Kubernetes' own (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/).
"""

from __future__ import annotations

from typing import Any

GPU = "nvidia.com/gpu"
CONTAINER = "tracer"
IMAGE, IMAGE_CPU = "tracer:gpu", "tracer:local"
NAMESPACE = "tracer"
VOLUME = "tracer-work"
"""The claim of the volume that runs share (infra/k8s/volume.yaml)."""
MOUNT = "/var/lib/tracer"
"""Where the image's `build` leads."""
LABELS = {"app.kubernetes.io/name": "tracer-training", "app.kubernetes.io/part-of": "tracer"}
"""What the network policies of infra/k8s/training know such a pod by."""
GRACE_SECONDS = 30
"""From SIGTERM to SIGKILL, for a checkpoint (tracer/training/eviction.py)."""
CPUS = 8
"""A GPU."""


def placed(gpus: int) -> dict[str, Any]:
    """The part of a pod that says on which nodes it may run."""
    # A node that does not answer is given up after half a minute; Kubernetes' own limit is five.
    gone = [{"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
            for state in ("not-ready", "unreachable")]  # fmt: skip
    if not gpus:
        return {"tolerations": gone}
    dear = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
    return {"nodeSelector": {f"{GPU}.present": "true"}, "tolerations": [dear, *gone]}


def tags(gpus: int = 1) -> dict[str, Any]:
    """The tag `dagster-k8s/config` of an op, for Dagster's executor of a pod a step."""
    return {"container_config": {"resources": {"limits": _limits(gpus)}}, "pod_spec_config": placed(gpus)}


def spec(gpus: int, volume: str = VOLUME, memory: float = 4.0, **container: Any) -> dict[str, Any]:
    """The pod's spec, whose container ``container`` completes; ``memory`` is asked for, in gigabytes.

    Its command goes into ``args``, since the image's entry point comes before it. The pod has no token of Kubernetes',
    and of MLflow the login of a trainer, which may log runs and move no alias. Code and data are those of the image.
    """
    asked = {"cpu": str(CPUS * gpus or 1), "memory": f"{memory:.0f}G"}
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "serviceAccountName": "tracer-training",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": "tracer-training",
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        },
        **placed(gpus),
        "containers": [
            {
                "name": CONTAINER,
                "resources": {"requests": asked, "limits": _limits(gpus)},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "envFrom": [{"secretRef": {"name": "tracer-mlflow-trainer", "optional": True}}],
                "volumeMounts": [{"name": "work", "mountPath": MOUNT}, {"name": "shm", "mountPath": "/dev/shm"}],
                **container,
                "env": [{"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow:5000"}, *container.get("env", [])],
            }
        ],
        "volumes": [
            {"name": "work", "persistentVolumeClaim": {"claimName": volume}},
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}},  # NCCL's; Docker's 64 MB end it
        ],
    }  # fmt: skip


def _limits(gpus: int) -> dict[str, str]:
    return {GPU: str(gpus)} if gpus else {}

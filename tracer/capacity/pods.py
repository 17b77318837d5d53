"""The pod that a model runs in: ``pod.yaml`` with its GPUs and nodes.

The one place that says it: Dagster's tags and pods (pipelines/) and the JobSet of a stage (``jobset``) are made of it.
"""

from __future__ import annotations

from typing import Any

import yaml

from tracer import package_data

GPU = "nvidia.com/gpu"
CPUS = 8
"""A GPU."""
IMAGE, IMAGE_CPU = "tracer:gpu", "tracer:local"
NAMESPACE = "tracer"
VOLUME = "tracer-work"
LABELS = {"app.kubernetes.io/name": "tracer-training", "app.kubernetes.io/part-of": "tracer"}
"""What the network policies of infra/k8s know such a pod by."""


def placed(gpus: int) -> dict[str, Any]:
    """The part of a pod that says on which nodes it may run."""
    # A node that does not answer is given up after half a minute; Kubernetes' own limit is five.
    tolerations = [
        {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}
        for state in ("not-ready", "unreachable")
    ]
    if not gpus:
        return {"tolerations": tolerations}
    dear = {"key": GPU, "operator": "Exists", "effect": "NoSchedule"}
    return {"nodeSelector": {f"{GPU}.present": "true"}, "tolerations": [dear, *tolerations]}


def tags(gpus: int = 1) -> dict[str, Any]:
    """The tag `dagster-k8s/config` of an op, for Dagster's executor of a pod a step."""
    return {"container_config": {"resources": {"limits": _limits(gpus)}}, "pod_spec_config": placed(gpus)}


def spec(gpus: int, memory: float, image: str, args: list[str], volume: str = VOLUME) -> dict[str, Any]:
    """The spec of a pod that runs ``args``; ``memory`` is asked for, in gigabytes."""
    pod = yaml.safe_load(package_data.read("capacity/pod.yaml")) | placed(gpus)
    requests = {"cpu": str(CPUS * gpus or 1), "memory": f"{memory:.0f}G"}
    pod["containers"][0] |= {"image": image, "args": args, "resources": {"requests": requests, "limits": _limits(gpus)}}
    pod["volumes"][0]["persistentVolumeClaim"]["claimName"] = volume
    return dict(pod)


def _limits(gpus: int) -> dict[str, str]:
    return {GPU: str(gpus)} if gpus else {}

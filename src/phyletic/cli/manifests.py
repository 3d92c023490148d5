"""Manifests for Kubernetes: an Indexed Job of workers of a service, and a RayJob that runs a script of yours."""

from __future__ import annotations

from typing import Any

import msgspec

from phyletic.cli.worker_command import WorkerCommand

GRACE_SECONDS = 60
"""Seconds that a pod has to hand its trials back."""
_HANDED_BACK = 143
_SETTINGS = "/run/phyletic"


class Pods(msgspec.Struct, frozen=True):
    """What the pods of a manifest have in common.

    Attributes:
        name: The name of the Job or RayJob.
        image: The image, with the training code in it.
        workers: How many pods work.
        gpus: GPUs of each.
        cpus: Processors of each, as Kubernetes writes them; None for no request.
        memory: Memory of each, as Kubernetes writes it; None for no limit.
        user: The number of the user that runs in them.
        secrets: Secrets whose keys become variables of the environment.
    """

    name: str
    image: str
    workers: int = 1
    gpus: int = 0
    cpus: str | None = None
    memory: str | None = None
    user: int = 10001
    secrets: tuple[str, ...] = ()


def worker_job(pods: Pods, worker: WorkerCommand, *, token_secret: str, ca: str | None = None) -> dict[str, Any]:
    """Return an Indexed Job whose pods are workers of a service.

    A pod that ends because its node is drained, preempted or lost is replaced and counts as no failure.

    Args:
        pods: What the pods are.
        worker: What each worker is told.
        token_secret: The Secret whose key ``token`` is the worker's token.
        ca: The ConfigMap whose key ``ca.crt`` is the root of the server's certificate; None if the image trusts it.
    """
    token = {"secretKeyRef": {"name": token_secret, "key": "token"}}
    environment: list[dict[str, Any]] = [
        {"name": "PHYLETIC_TOKEN", "valueFrom": token},
        {"name": "PHYLETIC_CACHE", "value": "/cache"},
        {"name": "HOME", "value": "/tmp"},
        {"name": "PYTHONUNBUFFERED", "value": "1"},
    ]
    volumes: list[dict[str, Any]] = [{"name": "cache", "emptyDir": {}}]
    mounts: list[dict[str, Any]] = [{"name": "cache", "mountPath": "/cache"}]
    if ca is not None:
        environment.append({"name": "PHYLETIC_TLS_CA", "value": f"{_SETTINGS}/ca.crt"})
        volumes.append({"name": "ca", "configMap": {"name": ca}})
        mounts.append({"name": "ca", "mountPath": _SETTINGS, "readOnly": True})
    container = {
        **_container("worker", pods),
        # Kubernetes puts variables in the place of $(NAME), and a dollar in that of two
        "command": [part.replace("$", "$$") for part in worker.argv(f"--grace={GRACE_SECONDS - 10}")],
        "env": environment,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": pods.name, "labels": _labels(pods.name)},
        "spec": {
            "completionMode": "Indexed",
            "completions": pods.workers,
            "parallelism": pods.workers,
            "backoffLimitPerIndex": 3,
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "Ignore",
                        "onExitCodes": {"containerName": "worker", "operator": "In", "values": [_HANDED_BACK]},
                    },
                ]
            },
            "template": {
                "metadata": {"labels": _labels(pods.name)},
                "spec": {**_pod(pods, container), "restartPolicy": "Never", "volumes": volumes},
            },
        },
    }


def ray_job(pods: Pods, script: str, *, claim: str | None = None) -> dict[str, Any]:
    """Return a KubeRay RayJob: a cluster whose head runs a script, and whose workers run what the script starts.

    Args:
        pods: What the workers' pods are; the head has two processors and 4 GiB.
        script: The script's path in the image.
        claim: A PersistentVolumeClaim that the head mounts at ``/data``; None for none.
    """
    head = {
        **_container("head", msgspec.structs.replace(pods, gpus=0, cpus="2", memory="4Gi")),
        "ports": [
            {"containerPort": 6379, "name": "gcs-server"},
            {"containerPort": 8265, "name": "dashboard"},
            {"containerPort": 10001, "name": "client"},
        ],
    }
    head_pod = _pod(pods, head)
    if claim is not None:
        head["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        head_pod["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    submitter = _container("submitter", msgspec.structs.replace(pods, gpus=0, cpus="500m", memory="1Gi", secrets=()))
    labels = {"metadata": {"labels": _labels(pods.name)}}
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": pods.name, "labels": _labels(pods.name)},
        "spec": {
            "entrypoint": f"python {script}",
            "shutdownAfterJobFinishes": True,
            "backoffLimit": 3,
            "submitterPodTemplate": {**labels, "spec": {**_pod(pods, submitter), "restartPolicy": "Never"}},
            "rayClusterSpec": {
                "headGroupSpec": {
                    # the script alone runs there: a head that trains may run out of memory, which ends the cluster
                    "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
                    "template": {**labels, "spec": head_pod},
                },
                "workerGroupSpecs": [
                    {
                        "groupName": "workers",
                        "replicas": pods.workers,
                        "minReplicas": pods.workers,
                        "maxReplicas": pods.workers,
                        "rayStartParams": {},
                        "template": {**labels, "spec": _pod(pods, _container("worker", pods))},
                    }
                ],
            },
        },
    }


def kustomization(resource: str, namespace: str | None, ca: tuple[str, str] | None = None) -> dict[str, Any]:
    """Return a kustomization of one manifest.

    Args:
        resource: The manifest's file.
        namespace: The namespace; None for that of the user's context.
        ca: The name of a ConfigMap, and the file that it holds as ``ca.crt``.
    """
    made: dict[str, Any] = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    if namespace is not None:
        made["namespace"] = namespace
    made["resources"] = [resource]
    if ca is not None:
        made["configMapGenerator"] = [{"name": ca[0], "files": [f"ca.crt={ca[1]}"]}]
    return made


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": "phyletic", "app.kubernetes.io/instance": name}


def _pod(pods: Pods, container: dict[str, Any]) -> dict[str, Any]:
    return {
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": pods.user,
            "runAsGroup": pods.user,
            "fsGroup": pods.user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }


def _container(name: str, pods: Pods) -> dict[str, Any]:
    requests: dict[str, str] = {}
    limits: dict[str, str] = {}
    if pods.cpus is not None:
        requests["cpu"] = pods.cpus
    if pods.memory is not None:
        requests["memory"] = limits["memory"] = pods.memory
    if pods.gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(pods.gpus)
    made: dict[str, Any] = {
        "name": name,
        "image": pods.image,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    resources = {key: found for key, found in (("requests", requests), ("limits", limits)) if found}
    if resources:
        made["resources"] = resources
    if pods.secrets:
        made["envFrom"] = [{"secretRef": {"name": secret}} for secret in pods.secrets]
    return made

"""Builds the manifests of the runs that are measured."""

from collections.abc import Mapping, Sequence
from typing import Any

Object = dict[str, Any]

TASKS = 3
STEPS = 2
"""As in TEP-0127's measurement: 20 to 30 PipelineRuns, each with 3 TaskRuns of 2 Steps."""

_SCRIPT = "#!/bin/sh\nhead -c {size} /dev/zero | tr '\\0' x > $(results.{result}.path)\n"


def shares(total: int, count: int) -> list[int]:
    """Return how many bytes each of ``count`` results has if they have ``total`` bytes together."""
    return [total // count + (number < total % count) for number in range(count)]


def task_spec(sizes: Sequence[int], image: str) -> Object:
    """Return a Task with a Step for each size, which writes a result of that many bytes."""
    results = [f"result-{number}" for number in range(len(sizes))]
    return {
        "results": [{"name": result, "type": "string"} for result in results],
        "steps": [
            {"name": f"step-{number}", "image": image, "script": _SCRIPT.format(size=size, result=result)}
            for number, (size, result) in enumerate(zip(sizes, results, strict=True))
        ],
    }


def taskrun(
    name: str, namespace: str, labels: Mapping[str, str], *, sizes: Sequence[int], image: str, managed_by: str
) -> Object:
    """Return a TaskRun of such a Task."""
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {"taskSpec": task_spec(sizes, image), **_managed(managed_by)},
    }


def pipelinerun(
    name: str,
    namespace: str,
    labels: Mapping[str, str],
    *,
    size: int,
    image: str,
    managed_by: str = "",
    node_selector: Mapping[str, str] | None = None,
) -> Object:
    """Return a PipelineRun of three such Tasks in sequence.

    Args:
        name: Name of the PipelineRun.
        namespace: Its namespace.
        labels: Its labels, which its TaskRuns and their pods inherit.
        size: Bytes of all results of one TaskRun; its Steps share them.
        image: Image of every Step.
        managed_by: ``spec.managedBy``; "" for Tekton's controller.
        node_selector: Nodes for its pods, which tolerate all taints.
    """
    tasks: list[Object] = []
    for number in range(TASKS):
        after = {"runAfter": [f"task-{number - 1}"]} if number else {}
        tasks.append({"name": f"task-{number}", **after, "taskSpec": task_spec(shares(size, STEPS), image)})
    spec: Object = {"pipelineSpec": {"tasks": tasks}, **_managed(managed_by)}
    if node_selector:
        template = {"nodeSelector": dict(node_selector), "tolerations": [{"operator": "Exists"}]}
        spec["taskRunTemplate"] = {"podTemplate": template}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": spec,
    }


def _managed(managed_by: str) -> Object:
    return {"managedBy": managed_by} if managed_by else {}

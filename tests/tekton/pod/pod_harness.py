"""What tests of the pod builder share: a small TaskRun, its pod, and a container of it by name."""

from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.spec.substitution import apply

OPTIONS = PodOptions(
    entrypoint_image="tekton/entrypoint:1",
    shell_image="busybox:1",
    workingdirinit_image="tekton/workingdirinit:1",
)


def taskrun(task=None, **spec):
    task = task or {"steps": [{"name": "s", "image": "i", "script": "true"}]}
    return {
        "metadata": {"name": "run", "namespace": "ns", "uid": "u-1"},
        "spec": {"taskSpec": task, **spec},
    }


def built(run, *, attempt=0, options=OPTIONS):
    return build_pod(run, apply(run["spec"]["taskSpec"], run), attempt=attempt, options=options)


def container(pod, name):
    return next(c for c in (*pod["spec"]["initContainers"], *pod["spec"]["containers"]) if c["name"] == name)

"""Count what a TaskRun's pod has at least, before any of it is built.

Some fields go into every container: mounts of the run's folders, workspaces, a template's variables, names of
results. A spec of a megabyte could ask for a pod of hundreds of gigabytes.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.spec.workspaces import mount_path

__all__ = ["least_pod_bytes", "refusal_of_size"]

_RUN_MOUNT: Final = len('{"name":"tekton-internal-run-0","mountPath":"/tekton/run/0"},')
_MOUNT: Final = len('{"name":"ws-00000","mountPath":""},')
_VARIABLE: Final = len('{"name":""},')
_REQUEST: Final = len('"":"1",')
_KEYED: Final = {"env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath"}
_MERGED: Final = ("securityContext", "computeResources")
_REPLACED: Final = ("command", "args", "envFrom", "workingDir", "image")


def refusal_of_size(taskrun: Object, task_spec: Object) -> str:
    """Return why no pod can be made of a TaskRun for its size alone; empty if nothing is known against it."""
    size = least_pod_bytes(taskrun, task_spec)
    if size <= OBJECT_BYTES:
        return ""
    steps, sidecars = (len(task_spec.get(part) or ()) for part in ("steps", "sidecars"))
    return (
        f"the pod of {steps} Steps and {sidecars} Sidecars would have {size} bytes or more, over the limit "
        f"of {OBJECT_BYTES} bytes one object may have: what the stepTemplate, workspaces, results or the "
        f"run's podTemplate give to each of them counts once for each; use fewer Steps, or split the Task"
    )


def least_pod_bytes(taskrun: Object, task_spec: Object) -> int:
    """Return a number of bytes that a TaskRun's pod has at least, in time linear in the specs."""
    spec = taskrun.get("spec") or {}
    steps: Sequence[Object] = task_spec.get("steps") or ()
    sidecars: Sequence[Object] = task_spec.get("sidecars") or ()
    count = len(steps)
    each = _RUN_MOUNT * count  # each Step mounts the folders of all
    each += sum(
        len(result.get("name") or "") for result in task_spec.get("results") or () if not result.get("value")
    )
    each += _VARIABLE * len((spec.get("podTemplate") or {}).get("env") or ())
    each += sum(len(name) + _REQUEST for name in ((spec.get("computeResources") or {}).get("requests") or ()))
    size = each * count + _MOUNT * _mounts(spec, task_spec) * (count + len(sidecars))
    if size > OBJECT_BYTES:
        return size
    return size + _from_template(task_spec.get("stepTemplate") or {}, steps)


def _mounts(spec: Object, task_spec: Object) -> int:
    """Return how many workspaces are mounted in all Steps and Sidecars: those that none of them names."""
    named = {
        usage["name"]
        for part in ("steps", "sidecars")
        for container in task_spec.get(part) or ()
        for usage in container.get("workspaces") or ()
    }
    declared = {workspace["name"]: workspace for workspace in task_spec.get("workspaces") or ()}
    # Where two are mounted in one place, a Sidecar has the first only.
    return len(
        {
            mount_path(declared.get(name) or binding)
            for binding in spec.get("workspaces") or ()
            if (name := binding["name"]) not in named
        }
    )


def _from_template(template: Object, steps: Sequence[Object]) -> int:
    """Return the bytes that Steps get from their template."""
    keyed = {
        field: {item.get(key) or "": object_size(item) for item in template[field]}
        for field, key in _KEYED.items()
        if template.get(field)
    }
    totals = {field: sum(sizes.values()) for field, sizes in keyed.items()}
    replaced = {field: object_size(template[field]) for field in _REPLACED if template.get(field)}
    merged = {field: template[field] for field in _MERGED if template.get(field)}
    size = 0
    for step in steps:
        for field, sizes in keyed.items():
            own: Collection[str] = {item.get(_KEYED[field]) or "" for item in step.get(field) or ()}
            size += totals[field] - sum(sizes.get(name, 0) for name in own)
        size += sum(bytes_ for field, bytes_ in replaced.items() if not step.get(field))
        size += sum(_remaining_size(part, step.get(field)) for field, part in merged.items())
        if size > OBJECT_BYTES:
            break
    return size


def _remaining_size(below: Mapping[str, Any], above: Any) -> int:
    """Return the bytes of a mapping that another one laid over it leaves."""
    if not isinstance(above, Mapping):
        return object_size(below)
    return sum(
        _remaining_size(value, above.get(key)) if isinstance(value, Mapping) else len(key)
        for key, value in below.items()
        if key not in above or isinstance(value, Mapping)
    )

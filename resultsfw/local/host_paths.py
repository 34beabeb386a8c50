"""Find volumes of kind hostPath, which without a cluster would be folders of the user's own machine."""

from collections.abc import Iterator
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.validate_pipeline import SECTIONS

__all__ = ["HOST_PATH", "host_path_in"]

HOST_PATH: Final = (
    "is refused: without a cluster it would be a folder of this machine itself, which the Steps could "
    "change; use an emptyDir, or a persistentVolumeClaim whose content the first Step creates"
)


def host_path_in(obj: Object) -> str:
    """Return the path of the first ``hostPath`` in a valid Task, Pipeline or run; empty without one."""
    return next(_host_paths(obj["spec"], "spec"), "")


def _host_paths(spec: Object, path: str) -> Iterator[str]:
    for part, volumes in _volumes(spec, path):
        for index, volume in enumerate(volumes or ()):
            if volume.get("hostPath") is not None:
                yield f"{part}[{index}].hostPath"


def _volumes(spec: Object, path: str) -> Iterator[tuple[str, list[Object] | None]]:
    """Yield each list of volumes in the spec of a Task, Pipeline or run, with its path."""
    yield f"{path}.volumes", spec.get("volumes")
    entries: list[tuple[str, Object]] = [
        (f"{path}.{field}", spec[field])
        for field in ("taskRunTemplate", "taskSpec", "pipelineSpec")
        if spec.get(field)
    ]
    for field in ("taskRunSpecs", *SECTIONS):
        entries += [(f"{path}.{field}[{index}]", entry) for index, entry in enumerate(spec.get(field) or ())]
    if template := spec.get("podTemplate"):
        yield f"{path}.podTemplate.volumes", template.get("volumes")
    for below, entry in entries:
        yield from _volumes(entry, below)

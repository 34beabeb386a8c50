"""``resultsfw controller``: run the process that reconciles TaskRuns and PipelineRuns on a cluster."""

from typing import Any

from resultsfw.controller.namespaces import parse_namespaces
from resultsfw.controller.options import Options
from resultsfw.controller.process import run_process
from resultsfw.images import check_registry, use_registry
from resultsfw.tekton.pod.builder import PodOptions

__all__ = ["options_of", "run_controller"]

_IMAGES = ("entrypoint_image", "shell_image", "nop_image", "workingdirinit_image")


def options_of(given: dict[str, Any]) -> Options:
    """Return the options of the process from those of the command line.

    Raises:
        InputError: The registry of images is none, or a namespace is invalid.
    """
    given["image_registry"] = check_registry(given["image_registry"])
    images = {name: given.pop(name) for name in _IMAGES}
    pods = PodOptions(**{name: image for name, image in images.items() if image})
    given["watch_namespaces"] = parse_namespaces(given.get("watch_namespaces", ""))
    given["lease_namespace"] = given["lease_namespace"] or given["namespace"]
    return Options(pods=pods, **{key: value for key, value in given.items() if value is not None})


def run_controller(given: dict[str, Any]) -> int:
    """Run until a signal arrives or the lease is lost, and return the exit status."""
    options = options_of(given)
    use_registry(options.image_registry)
    return run_process(options)

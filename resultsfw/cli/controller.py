"""``resultsfw controller``: the process that reconciles TaskRuns on a cluster."""

from typing import Any

from resultsfw.controller.options import Options
from resultsfw.controller.process import run_process
from resultsfw.tekton.pod.builder import PodOptions

__all__ = ["options_of", "run_controller"]

_IMAGES = ("entrypoint_image", "shell_image", "nop_image", "workingdirinit_image")


def options_of(given: dict[str, Any]) -> Options:
    """The process's options from those of the command line."""
    images = {name: given.pop(name) for name in _IMAGES}
    pods = PodOptions(**{name: image for name, image in images.items() if image})
    given["lease_namespace"] = given["lease_namespace"] or given["namespace"]
    return Options(pods=pods, **{key: value for key, value in given.items() if value is not None})


def run_controller(given: dict[str, Any]) -> int:
    """Run until a signal, or until the lease is lost; returns the exit status."""
    return run_process(options_of(given))

"""Build what breakpoints of a TaskRun (``spec.debug``) need: flags of the entrypoint, scripts, and mounts.

A Step at a breakpoint waits until a person runs one of the scripts in its container, or the run is out of
time. Source: docs/debug.md, ``pkg/pod/script.go``, and ``pkg/entrypoint/entrypointer.go``, which waits for
the files that the scripts write.
"""

from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.refusals import creation_failed

__all__ = ["Breakpoints", "breakpoints_of"]

_SCRIPTS: Final = {"name": "tekton-internal-debug-scripts", "mountPath": "/tekton/debug/scripts"}
_INFO: Final = {"name": "tekton-internal-debug-info", "mountPath": "/tekton/debug/info"}
_SHOWN: Final = 63

_ON_FAILURE: Final = {
    "debug-continue": ("0", "out.breakpointexit", "out"),
    "debug-fail-continue": ("1", "out.breakpointexit", "out.err"),
}
"""By script: the exit code of the Step's container, the file it is read from, and the Step's post file."""

_BEFORE_STEP: Final = {
    "debug-beforestep-continue": ("0", "out.beforestepexit", ""),
    "debug-beforestep-fail-continue": ("1", "out.beforestepexit.err", ""),
}

_SCRIPT: Final = """#!/bin/sh
set -e
for folder in /tekton/debug/info/*; do
  run="/tekton/run/${{folder##*/}}"
done
{post}echo {code} > "${{run}}/{file}"
echo "Step ${{run##*/}} goes on"
"""
"""Finds the number of its Step by the one folder that the Step's container mounts."""


@dataclass(frozen=True, slots=True)
class Breakpoints:
    """Where the Steps of a run wait for a person.

    Attributes:
        on_failure: A Step that failed waits before it ends.
        before_steps: Names of the Steps that wait before they begin.
    """

    on_failure: bool = False
    before_steps: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Return whether any Step waits."""
        return self.on_failure or bool(self.before_steps)

    def entrypoint_args(self, step: Object) -> list[str]:
        """Return the entrypoint's flags for a Step."""
        args = ["-breakpoint_on_failure"] if self.on_failure else []
        return [*args, "-debug_before_step"] if step.get("name") in self.before_steps else args

    def step_mounts(self, index: int) -> list[Object]:
        """Return what the container of a Step mounts."""
        if not self:
            return []
        info = {**_INFO, "mountPath": f"{_INFO['mountPath']}/{index}"}
        return [{**_SCRIPTS, "readOnly": True}, info]

    def script_mounts(self) -> list[Object]:
        """Return what the init container that places scripts mounts."""
        return [dict(_SCRIPTS)] if self else []

    def volume_names(self) -> list[str]:
        """Return the names of the empty volumes."""
        return [_SCRIPTS["name"], _INFO["name"]] if self else []

    def scripts(self) -> dict[str, bytes]:
        """Return the scripts by path."""
        wanted = (_ON_FAILURE if self.on_failure else {}) | (_BEFORE_STEP if self.before_steps else {})
        return {
            f"{_SCRIPTS['mountPath']}/{name}": _SCRIPT.format(
                code=code, file=file, post=f': > "${{run}}/{post}"\n' if post else ""
            ).encode()
            for name, (code, file, post) in wanted.items()
        }


def breakpoints_of(taskrun: Object, steps: list[Object]) -> Breakpoints:
    """Return the breakpoints that a valid TaskRun asks for.

    Raises:
        RefusedRun: One is before a Step that there is not. Tekton ignores it, and a person would wait.
    """
    given = ((taskrun.get("spec") or {}).get("debug") or {}).get("breakpoints") or {}
    names = {step.get("name") for step in steps}
    for index, name in enumerate(given.get("beforeSteps") or ()):
        if name not in names:
            raise creation_failed(
                taskrun, f'debug.breakpoints.beforeSteps[{index}]: there is no Step "{name[:_SHOWN]}"'
            )
    return Breakpoints(given.get("onFailure") == "enabled", frozenset(given.get("beforeSteps") or ()))

"""Backend ``sidecar-logs``: a sidecar prints the results, the controller reads its log (TEP-0127).

`resultsfw_sidecar.wire` defines the format and its versions. Version 0 is the format of Tekton's
own sidecar, which marks neither the end of its log nor what it left out.
"""

from typing import Final, Literal, Self

from pydantic import model_validator

from resultsfw import Capabilities, Cluster, Extraction, Limits, Object, Permission, Run, hookimpl
from resultsfw_backends._results_sidecar import CompressingConfig, add_sidecar
from resultsfw_backends._sidecar_reader import may_be_read, read_log, refuse_to_read
from resultsfw_sidecar import wire as wires

__all__ = ["Config", "capabilities", "extract", "pod_ready", "prepare_pod"]

TEKTON_LOG_BYTES: Final = 32 * 1024 * 1024
"""Maximum bytes read of the log of Tekton's sidecar, which prints values of any size."""


class Config(CompressingConfig):
    """Options of ``config.sidecar-logs``."""

    wire: Literal["resultsfw", "tekton"] = "resultsfw"
    """Whose sidecar the image has; Tekton's prints no end record, so a cut log cannot be detected."""

    @property
    def wire_version(self) -> int:
        """Return the wire version that these options ask for."""
        return wires.TEKTON if self.wire == "tekton" else super().wire_version

    @model_validator(mode="after")
    def _compresses_itself(self) -> Self:
        if self.compress and self.wire == "tekton":
            raise ValueError("compress: true needs the sidecar of resultsfw, and wire: tekton names Tekton's")
        return self


capabilities = Capabilities(
    summary="results in the log of a sidecar: as large as max-result-size and one API object allow",
    permissions=(
        Permission(verb="get", resource="pods/log", why="the results are in the log of the results sidecar"),
    ),
    verified=True,
    artifacts=True,
    plain_pods=True,
)


@hookimpl
def prepare_pod(run: Run, pod: Object, limits: Limits, config: Config) -> int:
    """Add the sidecar."""
    add_sidecar(run, pod, config, limits=limits, wire=config.wire_version)
    return config.wire_version


@hookimpl
def pod_ready(run: Run, pod: Object, wire: int) -> bool:
    """Return whether the sidecar has ended for good, or should have printed all: the Steps have ended."""
    return may_be_read(run, pod, wire=wire)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits, wire: int) -> Extraction:
    """Read the log."""
    if (nothing := refuse_to_read(pod, wire=wire, known=wires.WIRES)) is not None:
        return nothing
    least = TEKTON_LOG_BYTES if wire == wires.TEKTON else 0
    return read_log(run, pod, cluster, limits=limits, wire=wire, least=least)

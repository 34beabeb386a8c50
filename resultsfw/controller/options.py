"""The options of the controller process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from resultsfw.controller.permissions import LEASE
from resultsfw.controller.watchdog import STALLED_AFTER
from resultsfw.tekton.pod.builder import PodOptions

__all__ = ["Options", "images_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the process. See ``resultsfw controller --help``."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str = "tekton-pipelines"
    managed_by: str = "resultsfw.dev/controller"
    threads: int = 4
    listen: str = ":8080"
    leader_elect: bool = True
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces whose runs are reconciled; none: all. In others, only the flags are read."""
    lease_name: str = LEASE
    lease_namespace: str = "tekton-pipelines"
    lease_seconds: int = 20
    """Seconds after which another replica takes a lease that its holder does not renew."""
    renew_deadline: float = 15
    """Seconds after which a leader that cannot renew its lease exits. An API server may be unreachable for
    ten seconds without stopping a leader."""
    pods: PodOptions = field(default_factory=PodOptions)
    sidecar_image: str = ""
    image_registry: str = ""
    """See `resultsfw.images.located`."""
    unschedulable_after: float = 30.0
    stalled_after: float = STALLED_AFTER
    """Seconds of one reconciliation after which ``/healthz`` fails."""
    qps: float = 200.0
    burst: int = 400
    log_level: str = "info"


def images_of(options: Options) -> Mapping[str, str]:
    """Return the images of every pod by purpose; a results sidecar has its backend's image."""
    pods = options.pods
    return {
        "entrypoint": pods.entrypoint_image,
        "scripts": pods.shell_image,
        "working directories": pods.workingdirinit_image,
        "end of Sidecars": pods.nop_image,
    }

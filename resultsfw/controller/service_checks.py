"""Check that what the flags rely on beside the API server is there: a backend's server, SPIFFE identities."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from resultsfw.cluster import Kind
from resultsfw.controller.cluster_checks import ClusterReader
from resultsfw.controller.manifests import kind_of, load
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, NotFoundError, ResultsError
from resultsfw.operations.access import Finding
from resultsfw.site import page
from resultsfw.tekton.api.signing import EXTENSION as SIGNED

__all__ = ["check_identities", "check_server"]

_SERVICES: Final = Kind("", "v1", "services", "Service")
_SLICES: Final = Kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
_SERVICE_OF_SLICE: Final = "kubernetes.io/service-name"
_IDENTITIES: Final = "signing-identities"
"""The folder with the templates for SPIRE's controller manager."""


def check_server(cluster: ClusterReader, core: ResultsManager, backend: str) -> Iterator[Finding]:
    """Check that the Service that a backend's option ``url`` names exists and has a ready pod.

    A server elsewhere is not asked: pods reach it by a network that is not this machine's.
    """
    try:
        options = core.backend(backend).configure(core.flags.config.get(backend, {}))
        host = urlsplit(str(getattr(options, "url", ""))).hostname or ""
    except (ResultsError, ValueError):
        return  # reported for the backend itself
    name, _, rest = host.partition(".")
    namespace, _, domain = rest.partition(".")
    if not (name and namespace and domain.partition(".")[0] == "svc"):
        return
    finding = Finding(
        what=f"Service {namespace}/{name}", well=True, detail=f"has ready pods (backend {backend})"
    )
    fix = f'start it, or correct the option "url" of config.{backend}'
    try:
        cluster.get(_SERVICES, namespace, name)
        slices = cluster.list(_SLICES, namespace)
    except NotFoundError:
        detail = f"not found: pods cannot deliver results to it (backend {backend})"
        yield replace(finding, well=False, detail=detail, fix=fix)
    except ClusterError as error:
        yield replace(finding, well=None, detail=f"cannot be read: {error.message}")
    else:
        ready = any(
            (endpoint.get("conditions") or {}).get("ready") is not False
            for found in slices
            if (found["metadata"].get("labels") or {}).get(_SERVICE_OF_SLICE) == name
            for endpoint in found.get("endpoints") or ()
        )
        detail = f"has no ready pod: results that are delivered to it are lost (backend {backend})"
        yield finding if ready else replace(finding, well=False, detail=detail, fix=fix)


def check_identities(cluster: ClusterReader, core: ResultsManager) -> Iterator[Finding]:
    """Check that SPIRE's controller manager registers pods that sign, and the controller.

    A missing template is a warning: identities can be registered in other ways, which are not visible here.
    """
    options = core.flags.config.get(SIGNED, {})
    if SIGNED not in core.extensions or options.get("entries"):
        return
    fix = f"see {page('how-to/signed-results', 'identities')}"
    for template in load(_IDENTITIES):
        name = template["metadata"]["name"]
        finding = Finding(
            what=f"{template['kind']} {name}", well=True, detail="is in effect (extension signed)"
        )
        try:
            found = cluster.get(kind_of(template), "", name)
        except NotFoundError:
            detail = f"not found: unless they are registered otherwise, its pods get no identity; {fix}"
            yield replace(finding, doubtful=True, detail=detail)
        except ClusterError as error:
            yield replace(finding, well=None, detail=f"cannot be read: {error.message}")
        else:
            detail = f"has no status: SPIRE's controller manager ignores it, or does not run; {fix}"
            yield finding if found.get("status") else replace(finding, doubtful=True, detail=detail)

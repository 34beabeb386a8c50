"""Read values by reference, and place them into pods, through the backends that stored them.

`ResultsManager` offers these functions; each takes the plugins of its flags.
"""

from collections.abc import Iterator, Mapping

from resultsfw import backend_calls, jsons
from resultsfw.cluster import Cluster, Object
from resultsfw.errors import BackendError
from resultsfw.plugin_registry import PluginRegistry
from resultsfw.plugins import Backend
from resultsfw.references import refuse_foreign, sized_pieces, verified_pieces
from resultsfw.types import Reference, Run

__all__ = ["backend_of_reference", "place_referenced", "read_referenced"]


def backend_of_reference(plugins: PluginRegistry, reference: Reference, trusted: str = "") -> Backend:
    """Return the backend that a reference names.

    Args:
        plugins: The plugins.
        reference: The reference, perhaps written by a tenant.
        trusted: A backend that may be used, in addition to those that the flags allow.

    Raises:
        BackendError: The backend cannot be loaded, is not allowed, or does not use references.
    """
    name = reference.backend
    backend = plugins.get(name) if name == trusted else plugins.get_allowed(name, "a reference")
    if backend.capabilities.delivery != "reference":
        raise BackendError(
            f'backend "{backend.name}" hands out values and not references', subject=backend.name
        )
    return backend


def read_referenced(
    plugins: PluginRegistry, reference: Reference, cluster: Cluster, *, namespace: str, trusted: str
) -> Iterator[bytes]:
    """Return the bytes of a value in pieces, verified as they arrive.

    Args:
        plugins: The plugins.
        reference: The reference.
        cluster: Passed to the backend.
        namespace: The namespace on whose behalf the value is read; "": of every one.
        trusted: As for `backend_of_reference`.

    Raises:
        ResultsError: As `ResultsManager.dereference` raises.
    """
    backend = backend_of_reference(plugins, reference, trusted)
    refuse_foreign(reference, namespace)
    config = plugins.config(backend)
    pieces = backend_calls.dereference(
        backend, reference=reference, cluster=cluster, config=config, namespace=namespace
    )
    stored = verified_pieces(reference, pieces)
    if not reference.encryption:
        return stored
    value = backend_calls.decrypt(backend, stored, reference=reference, config=config)
    return sized_pieces(reference, value)


def place_referenced(
    plugins: PluginRegistry,
    run: Run,
    pod: Object,
    files: Mapping[str, Reference],
    mount: Object,
    *,
    cluster: Cluster | None,
) -> Object:
    """Return a copy of the pod that gets referenced values as files; each backend places its own.

    Args:
        plugins: The plugins.
        run: The run; references to values of another namespace are rejected.
        pod: The pod.
        files: The reference of each file by its absolute path.
        mount: The ``volumeMount`` of the volume of these files.
        cluster: Passed to the backends.

    Raises:
        ResultsError: As `ResultsManager.place_files` raises.
    """
    for reference in files.values():
        refuse_foreign(reference, run.namespace)
    pod = jsons.copy(pod)
    for name in sorted({reference.backend for reference in files.values()}):
        own = {path: reference for path, reference in files.items() if reference.backend == name}
        backend = backend_of_reference(plugins, next(iter(own.values())))
        backend_calls.call(
            backend,
            "place_files",
            run=run,
            pod=pod,
            files=own,
            mount=mount,
            cluster=cluster,
            config=plugins.config(backend),
        )
    return pod

"""The plugin contract: the hooks of backends, then those of extensions.

An implementation is a function marked with ``@hookimpl``. It takes any of its hook's arguments, by name:

``run``        `Run`: the run, its Steps and its declared results
``pod``        the Pod as decoded JSON
``cluster``    `Cluster`: the only access to the API server
``limits``     `Limits`: size limits in bytes; the lower of the backend's and the operator's
``backend``    the name under which the backend is selected
``config``     the backend's own ``Config`` object, validated
``wire``       the format version that ``prepare_pod`` returned for this pod
``reference``  `Reference`: what a status contains in place of a value
``status``     the status that ends an attempt, as it will be stored
``obj``        the object whose status that is, with the status before
``namespace``  the namespace of the run on whose behalf a value is read
``pieces``     the stored bytes of a referenced value, verified by the core as they arrive
``files``      the reference of each file, by the file's absolute path
``mount``      the ``volumeMount`` of the volume of these files

Hooks are plain functions. They are called from several threads at once, for different runs.
``docs/reference/compatibility.md`` says what may change here, and when.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import pluggy
from pydantic import BaseModel

from resultsfw.cluster import Cluster, Object
from resultsfw.types import CollectionOutcome, Extraction, Limits, Problem, Reference, Run, Verification

hookspec = pluggy.HookspecMarker("resultsfw")
hookimpl = pluggy.HookimplMarker("resultsfw")

API_VERSION = 1
"""Version of this contract. A backend's `Capabilities` name the version it was written for."""

API_VERSIONS: Final = range(1, API_VERSION + 1)
"""Versions of the contract that plugins may be written for, the oldest one first."""


class HookDeprecationWarning(DeprecationWarning):
    """Warns that a plugin uses a hook or an argument that a later version will remove.

    A specification marks them with pluggy's ``warn_on_impl`` and ``warn_on_impl_args``. The warning is raised
    when the plugin is loaded, with the location of its hook; the controller logs it once.
    """


# Hooks of backends. Only the backend that `results-from` selects is called.


@hookspec(firstresult=True)
def prepare_pod(  # noqa: PLR0917 - pluggy passes them by name; an implementation takes those it names
    run: Run, pod: Object, cluster: Cluster, limits: Limits, config: BaseModel, backend: str
) -> int:
    """Change the pod so that its results can be read later; return the version of your format, from 0.

    ``pod`` is a copy for this call, complete except for the backend's additions. A backend whose capabilities
    declare ``external_state`` also creates objects here that must exist before the pod. The hook is called
    again after a crash: accept objects of your own that exist already, and change the pod in the same way.
    """
    raise NotImplementedError  # pluggy never calls a specification


@hookspec(firstresult=True)
def pod_ready(run: Run, pod: Object, config: BaseModel, wire: int, backend: str) -> bool:
    """Return whether all results of the pod can be read now. Look at ``pod`` only; send no request."""
    raise NotImplementedError


@hookspec(firstresult=True)
def extract(  # noqa: PLR0917 - as above
    run: Run, pod: Object, cluster: Cluster, limits: Limits, config: BaseModel, wire: int, backend: str
) -> Extraction:
    """Read the results once and return them. Do not catch a `ClusterError`: the core decides on retries."""
    raise NotImplementedError


@hookspec(firstresult=True)
def dereference(
    reference: Reference, cluster: Cluster, config: BaseModel, namespace: str, backend: str
) -> Iterator[bytes]:
    """Yield the stored bytes of a referenced value. Needed if ``capabilities.delivery`` is "reference".

    Whoever creates a run can write a reference into its params. The core has compared
    ``reference.namespace`` with ``namespace``, if that is not "": find the value by the reference's
    ``namespace``, ``uid`` and ``name`` below a root of your own, and raise `CorruptError` if its ``root`` is
    another one.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def decrypt(
    reference: Reference, pieces: Iterator[bytes], config: BaseModel, backend: str
) -> Iterator[bytes]:
    """Yield the value of which ``pieces`` are the stored bytes. Needed for references with ``encryption``.

    ``pieces`` come from ``dereference``; they have the size and digest of the reference, or end with a
    `CorruptError`. The reference may be text of a tenant: bind what it says to ``reference.namespace`` and
    ``reference.uid``. Raise `ForbiddenError` if the key is missing, `CorruptError` if it does not fit.
    """
    raise NotImplementedError


@hookspec
def place_files(  # noqa: PLR0917 - as above
    run: Run,
    pod: Object,
    files: Mapping[str, Reference],
    mount: Object,
    cluster: Cluster,
    config: BaseModel,
    backend: str,
) -> None:
    """Change the pod so that the values of ``files`` exist as files, verified, before its Steps start.

    All files are in the volume that ``mount`` mounts; every user must be able to read them. If a file cannot
    be written, the pod must fail: let an init container fail, and say why in its termination message. The
    core has compared the namespace of each reference with ``run.namespace``. Called before ``prepare_pod``;
    ``cluster`` is ``None`` where an embedder gives none. Optional: without this hook the controller reads
    such values itself, and refuses large ones.
    """
    raise NotImplementedError


@hookspec
def purge(run: Run, cluster: Cluster, config: BaseModel, backend: str) -> None:
    """Remove what the backend stored outside the pod for this attempt of the run.

    Called when the results are in the status if ``capabilities.delivery`` is "value", and when the run is
    deleted if it is "reference"; called again after a crash. The pod may not exist any more: find the data by
    the run's namespace, uid and attempt.
    """


# Hooks of the extension that verifies signatures. A failure is not ignored: the call is repeated.


@hookspec
def pod_created(run: Run, pod: Object) -> Verification | None:
    """Register a pod that now exists, and return its verification until results are read.

    Called for each attempt that declares results, once its pod is created; again after a crash, and every few
    seconds while it raises a `ResultsError` and the pod runs.
    """


@hookspec
def attest_status(run: Run, status: Object, obj: Object, collected: CollectionOutcome) -> Mapping[str, str]:
    """Return annotations for the status that ends an attempt, such as a signature over it.

    Called for runs without results, too. ``collected`` is the outcome that is in the status. The object with
    these annotations must fit under the API server's limit: of what `resultsfw.limits.OBJECT_HEADROOM` keeps
    free, three quarters may be used. Raise a `ClusterError` if another try may succeed.
    """
    raise NotImplementedError


# Hooks of extensions. Every allow-listed extension is called, in name order; a failure is logged and ignored.
# An extension may also wrap the hooks above (``@hookimpl(wrapper=True)``), see `resultsfw.extensions`.


@hookspec
def results_collected(run: Run, collected: CollectionOutcome) -> None:
    """Observe the results of a run before they are written to its status."""


@hookspec
def collection_failed(run: Run, problems: tuple[Problem, ...]) -> None:
    """Observe why results of a run did not arrive intact."""


@hookspec
def close() -> None:
    """Release what this instance of an extension holds: threads, connections, data that waits to be sent.

    Called once on an instance that resultsfw created from a class, when the flags have changed or the program
    ends, and no hook of the instance runs any more. Return within seconds: nobody waits longer. A failure is
    logged and ignored.
    """

"""The whole plugin contract, flat: first what a backend implements, then what an extension may.

A hook takes whichever of these arguments it names (pluggy passes those):

``run``      `Run`: the run, its Steps and its declared results
``pod``      the Pod as decoded JSON
``cluster``  `Cluster`: the way to the world
``limits``   `Limits`: bytes a value and a run may have, the backend's own walls included
``config``   the backend's own validated ``Config``
``wire``     the wire version ``prepare_pod`` returned when this pod was made
``reference``  `Reference`: what a status holds in place of a value
``namespace``  on whose behalf a value is read: a run of that namespace
``files``    references by the absolute path of the file that is to hold their value
``mount``    the ``volumeMount`` of the volume those files are in

What may change here, and when: ``docs/compatibility.md``.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import pluggy
from pydantic import BaseModel

from resultsfw.cluster import Cluster, Object
from resultsfw.types import CollectionOutcome, Extraction, Limits, Problem, Reference, Run

hookspec = pluggy.HookspecMarker("resultsfw")
hookimpl = pluggy.HookimplMarker("resultsfw")

API_VERSION = 1
"""Of this contract; a backend's `Capabilities` say which one it was written for."""

API_VERSIONS: Final = range(1, API_VERSION + 1)
"""Those that a plugin may be written for: the oldest that is still loaded, to this one."""


class HookDeprecationWarning(DeprecationWarning):
    """A plugin implements a hook, or names an argument, that a later version will not have.

    A specification says so by pluggy's ``warn_on_impl`` and ``warn_on_impl_args``. Raised as a warning
    where the plugin is loaded, at the place of its hook; the controller logs it once.
    """


# For backends: the one that `results-from` names is called.


@hookspec(firstresult=True)
def prepare_pod(run: Run, pod: Object, cluster: Cluster, limits: Limits, config: BaseModel) -> int:
    """Change the pod so that its results can get out, and return the wire version it will speak.

    ``pod`` is a copy made for this call, complete but for what the backend adds. What must be there
    before the pod is (an object that its sidecar fills) is made here, by a backend whose capabilities say so
    (``external_state``); it is called again after a crash, and must take what it finds of its own.
    """
    raise NotImplementedError  # pluggy never calls a specification


@hookspec(firstresult=True)
def pod_ready(run: Run, pod: Object, config: BaseModel, wire: int) -> bool:
    """Say whether all that the pod will hand out is there to be read. Pure: it asks nobody."""
    raise NotImplementedError


@hookspec(firstresult=True)
def extract(  # noqa: PLR0917 - pluggy passes them by name; an implementation takes those it names
    run: Run, pod: Object, cluster: Cluster, limits: Limits, config: BaseModel, wire: int
) -> Extraction:
    """Read the results once. Let a `ClusterError` through: the caller knows whether to try again."""
    raise NotImplementedError


@hookspec(firstresult=True)
def dereference(reference: Reference, cluster: Cluster, config: BaseModel, namespace: str) -> Iterator[bytes]:
    """Yield the bytes a reference stands for. Only for backends that hand over by reference.

    A reference in a run's parameters was written by whoever made the run: with a ``namespace``, one that
    leads to what a run of another namespace left is to be refused (CorruptError). "": who asks may have all.
    """
    raise NotImplementedError


@hookspec
def place_files(
    run: Run, pod: Object, files: Mapping[str, Reference], mount: Object, config: BaseModel
) -> None:
    """Change the pod so that before its Steps begin the values of ``files`` are there, whole and verified.

    ``files`` are references by the absolute path of their file, all below the volume that ``mount`` (a
    Kubernetes ``volumeMount``) mounts; every user must be able to read them. What cannot be placed must end
    the pod, by an init container that fails and says why in its termination message. References to what a
    run of another namespace than ``run.namespace`` left are refused (CorruptError). It is called before
    ``prepare_pod``. Without this hook the controller reads such values itself, and refuses large ones.
    """
    raise NotImplementedError


@hookspec
def purge(run: Run, cluster: Cluster, config: BaseModel) -> None:
    """Remove what the backend left outside the pod for this attempt of the run. Called again after a crash.

    By value, once the results are in the status; by reference, when the run itself is deleted. The pod may
    be gone by then: what it left must be found by the run's namespace, uid and attempt.
    """


# For extensions: every allow-listed one is called, in name order; one that fails is logged and left out.
# An extension may also wrap the hooks above (``@hookimpl(wrapper=True)``), see `resultsfw.extensions`.


@hookspec
def results_collected(run: Run, collected: CollectionOutcome) -> None:
    """See the results of a run before they are written to its status."""


@hookspec
def collection_failed(run: Run, problems: tuple[Problem, ...]) -> None:
    """See why the results of a run did not come whole."""

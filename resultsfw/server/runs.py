"""Check that a TaskRun exists, if the operator lets the server ask the cluster."""

import logging
from typing import Protocol

from resultsfw.cluster import Kind, Object
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.server.refusals import RefusalError
from resultsfw.tekton.api.kinds import TASKRUNS

__all__ = ["ClusterRuns", "Runs"]

log = logging.getLogger(__name__)


class Runs(Protocol):
    """Knows which TaskRuns exist. Safe for threads."""

    def exists(self, namespace: str, name: str, uid: str) -> bool:
        """Return whether there is a TaskRun with that name and uid.

        Raises:
            RefusalError: The API server did not answer.
        """
        ...


class _Gets(Protocol):
    """The part of a `Cluster` that the check needs."""

    def get(self, kind: Kind, namespace: str, name: str, /) -> Object:
        """Return an object."""
        ...


class ClusterRuns:
    """Asks an API server for TaskRuns.

    It gets them by name: permission to ``get`` shows one object to who knows its name; permission to ``list``
    would show the params and results of all.

    Args:
        cluster: With a service account that may get TaskRuns.
    """

    def __init__(self, cluster: _Gets) -> None:
        self._cluster = cluster

    def exists(self, namespace: str, name: str, uid: str) -> bool:
        """See `Runs`."""
        try:
            found = self._cluster.get(TASKRUNS, namespace, name)
        except NotFoundError:
            return False
        except ClusterError as error:
            log.error("could not get a TaskRun: %s (%s)", error.message, error.code)  # noqa: TRY400
            raise RefusalError(
                "Unavailable", "the server cannot check whether the TaskRun exists now; see its log"
            ) from error
        return (found.get("metadata") or {}).get("uid") == uid

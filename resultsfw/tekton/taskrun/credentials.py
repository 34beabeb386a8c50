"""Warn of Secrets of a service account that Tekton would give to Steps, and this project does not.

Tekton copies the Secrets that a ServiceAccount lists and that are annotated ``tekton.dev/git-*`` or
``tekton.dev/docker-*`` into every Step's home ("creds-init"). Only a reader of Secrets sees whether one is
annotated, and the controller is none (decision 0029): it reads the ServiceAccount, and names what it lists.
"""

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ClusterError
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.pod.builder import PodOptions

__all__ = ["REASON", "STEP_FAILED", "CredentialNotes", "WithheldCredentials", "withheld_secrets"]

log = logging.getLogger(__name__)

REASON: Final = "CredentialsNotGiven"
"""Reason of the Event on the run."""

STEP_FAILED: Final = "StepFailed"
"""Reason of a run whose Step failed: possibly because it lacked a credential."""

_MADE_BY_SERVERS: Final = re.compile(r"-(token|dockercfg)-[a-z0-9]{5}$")
"""Secrets that Kubernetes and OpenShift put into a ServiceAccount by themselves; nobody annotates those."""

_SECONDS: Final = 60.0
_MOST: Final = 1_000
_NAMED: Final = 5


def withheld_secrets(account: Object) -> list[str]:
    """Return the names of the Secrets that a person added to a ServiceAccount."""
    listed = account.get("secrets") or ()
    names = [str(secret.get("name") or "") for secret in listed if isinstance(secret, dict)]
    return [name for name in names if name and not _MADE_BY_SERVERS.search(name)]


class CredentialNotes:
    """Reads ServiceAccounts, each at most once a minute.

    Args:
        cluster: Where they are.
        clock: Seconds, never going back.
    """

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, str]] = {}

    def note(self, namespace: str, account: str) -> str:
        """Return a sentence about what Steps under this account do not get; empty for nothing.

        Returns nothing for an unreadable account: `resultsfw doctor` names the missing permission.
        """
        key, now = (namespace, account), self._clock()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now - known[0] < _SECONDS:
            return known[1]
        try:
            names = withheld_secrets(self._cluster.get(SERVICE_ACCOUNTS, namespace, account))
        except ClusterError:
            names = []
        note = _sentence(account, names) if names else ""
        with self._lock:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[key] = now, note
        return note


class WithheldCredentials:
    """Tells people what Steps do not get of their pod's service account.

    Args:
        cluster: Where ServiceAccounts are.
        options: Name the service account of a pod that names none.
        policies: Say whether anybody expects credentials.
        tell: Records an Event on a TaskRun: reason and message.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        options: PodOptions,
        policies: Policies,
        tell: Callable[[Object, str, str], None],
    ) -> None:
        self._notes = CredentialNotes(cluster)
        self._options = options
        self._policies = policies
        self._tell = tell

    def warn(self, taskrun: Object, pod: Object) -> None:
        """Say in the log and in an Event what Steps of an attempt that begins do not get."""
        if note := self._note(pod):
            metadata = taskrun["metadata"]
            log.warning("TaskRun %s/%s: %s", metadata.get("namespace", ""), metadata["name"], note)
            self._tell(taskrun, REASON, note)

    def append_to(self, pod: Object, message: str) -> str:
        """Return a message with what Steps of the pod do not get, if there is anything."""
        note = self._note(pod)
        return f"{message}; {note}" if note else message

    def _note(self, pod: Object) -> str:
        if not self._policies.credentials:
            return ""
        account = pod["spec"].get("serviceAccountName") or self._options.service_account
        return self._notes.note(pod["metadata"].get("namespace", ""), account)


def _sentence(account: str, names: list[str]) -> str:
    listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return (
        f'ServiceAccount "{account}" lists Secrets ({listed}): if they are annotated tekton.dev/git-* or '
        f"tekton.dev/docker-*, Tekton gives them to Steps, and here Steps do not get them; mount them as "
        f"workspaces "
        f'or volumes, or set the feature flag "disable-creds-init" to "true" if none is meant for Steps'
    )

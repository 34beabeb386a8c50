"""Read the Secrets that a run's service account lists, for the credentials that its Steps get.

Tekton gives Steps the Secrets of their service account that are annotated ``tekton.dev/git-*`` or
``tekton.dev/docker-*`` (pkg/pod/creds_init.go). Without the right to read Secrets, which an operator may
leave out, the run goes on without them, and an Event names what it does not get.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ForbiddenError, NotFoundError
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.kinds import SECRETS
from resultsfw.tekton.api.refusals import RefusedRun, pod_refused, subject_of
from resultsfw.tekton.pod.credentials import (
    NO_CREDENTIALS,
    Credentials,
    credentials_of,
    lacks_known_hosts,
)
from resultsfw.tekton.taskrun.service_accounts import ServiceAccounts

__all__ = ["MISSING", "MOST_SECRETS", "WITHHELD", "AccountCredentials", "read_credentials"]

WITHHELD: Final = "CredentialsNotGiven"
"""Reason of the Event on a run whose account's Secrets may not be read."""

MISSING: Final = "FailedToRetrieveSecret"
"""Reason of the Event on a run whose account lists Secrets that do not exist: Tekton's."""

MOST_SECRETS: Final = 100
"""Secrets of an account that are read, one request each."""

_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class AccountCredentials:
    """The credentials of a service account, and what is to be reported of it.

    Attributes:
        credentials: For the pod.
        events: Reason and message of each Event on the run.
    """

    credentials: Credentials = NO_CREDENTIALS
    events: tuple[tuple[str, str], ...] = ()


def read_credentials(
    cluster: Cluster,
    accounts: ServiceAccounts,
    taskrun: Object,
    account: str,
    *,
    now: datetime,
    require_known_hosts: bool,
) -> AccountCredentials:
    """Return the credentials that the Steps of a run get from its service account.

    An account that does not exist has none; the API server refuses its pods, and says so.

    Args:
        cluster: Where Secrets are.
        accounts: Reads the account.
        taskrun: The run.
        account: The name of its service account.
        now: The time.
        require_known_hosts: Refuse an SSH key without the servers' keys
            (``require-git-ssh-secret-known-hosts``).

    Raises:
        RefusedRun: The account lists too many Secrets, or has such a key.
        ClusterError: The account or a Secret cannot be read now.
    """
    namespace = taskrun["metadata"].get("namespace", "")
    try:
        names = accounts.read(taskrun, account, now).secrets
    except NotFoundError:
        return AccountCredentials()
    except ForbiddenError as error:
        why = f'ServiceAccount "{account}" cannot be read, so Steps get none of its Secrets: {error.message}'
        return AccountCredentials(events=((WITHHELD, why),))
    if len(names) > MOST_SECRETS:
        raise pod_refused(
            taskrun,
            f'ServiceAccount "{account}" lists {len(names)} Secrets, and at most {MOST_SECRETS} are given to '
            f'Steps; list fewer, or set the feature flag "disable-creds-init" to "true"',
        )
    secrets: list[Object] = []
    missing: list[str] = []
    for name in names:
        try:
            secret = cluster.get(SECRETS, namespace, name)
        except NotFoundError:
            missing.append(name)
            continue
        except ForbiddenError as error:
            return AccountCredentials(events=((WITHHELD, _withheld(account, names, error)),))
        if require_known_hosts and lacks_known_hosts(secret):
            raise RefusedRun(
                reasons.VALIDATION_FAILED,
                f'TaskRun validation failed. Git SSH Secret "{name}" must have "known_hosts" included '
                f'when feature flag "require-git-ssh-secret-known-hosts" is set to true',
                subject=subject_of(taskrun),
            )
        secrets.append(secret)
    events: tuple[tuple[str, str], ...] = ()
    if missing:
        why = f"Unable to retrieve some secrets ({_shown(missing)}); attempting to use them may not succeed."
        events = ((MISSING, why),)
    return AccountCredentials(credentials_of(secrets), events)


def _withheld(account: str, names: Sequence[str], error: ForbiddenError) -> str:
    return (
        f'ServiceAccount "{account}" lists Secrets ({_shown(names)}), and the controller may not read them: '
        f"those that are annotated tekton.dev/git-* or tekton.dev/docker-* are not given to Steps; grant it "
        f'"get secrets", mount them as workspaces or volumes, or set the feature flag "disable-creds-init" '
        f'to "true" if none is meant for Steps: {error.message}'
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")

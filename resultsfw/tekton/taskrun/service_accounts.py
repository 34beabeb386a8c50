"""Read which Secrets a run's service account lists: for its Steps, and to pull its images.

Runs that are created together share a reading. None is older than the run that uses it, so that what was
applied before the run counts for it.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ForbiddenError
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.kinds import SERVICE_ACCOUNTS
from resultsfw.tekton.api.times import latest_start, parse_time

__all__ = ["AccountSecrets", "ServiceAccounts", "listed_names"]

_SHARED_FOR: Final = timedelta(seconds=10)
"""Age up to which a reading is used: runs may wait for long before their pods are created."""

_CLOCK_DIFFERENCE: Final = timedelta(seconds=2)
"""How far the controller's clock may be ahead of the API server's, which stamps the creation of runs."""

_MOST_READINGS: Final = 1_000
_MOST_CHARACTERS: Final = 4_096
"""Of the names in a reading that is kept; longer lists are read for each run."""


@dataclass(frozen=True, slots=True)
class AccountSecrets:
    """The names of the Secrets that a ServiceAccount lists, each once, in its order.

    Attributes:
        secrets: Its ``secrets``, of which annotated ones are credentials of Steps.
        pull_secrets: Its ``imagePullSecrets``.
    """

    secrets: tuple[str, ...]
    pull_secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What came of reading a ServiceAccount.

    Attributes:
        began: The time at which it was asked for, or one before.
        run: The uid of the run for which it was read.
        outcome: What it lists, or why it may not be read.
    """

    began: datetime
    run: str
    outcome: AccountSecrets | ForbiddenError


class ServiceAccounts:
    """Reads ServiceAccounts for the runs of one controller. Safe for threads.

    Args:
        cluster: Where they are.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._readings: OrderedDict[tuple[str, str], _Reading] = OrderedDict()

    def read(self, taskrun: Object, account: str, now: datetime) -> AccountSecrets:
        """Return what an account lists, as it was at some time after a run was created.

        Args:
            taskrun: The run.
            account: The account's name, in the run's namespace.
            now: The time, or one since which the run is reconciled.

        Raises:
            NotFoundError: It does not exist.
            ForbiddenError: The controller may not read it.
            ClusterError: It cannot be read now.
        """
        key = taskrun["metadata"].get("namespace", ""), account
        with self._lock:
            reading = self._readings.get(key)
        if reading is None or not _counts_for(reading, taskrun, now):
            reading = self._read(key, taskrun["metadata"].get("uid", ""), now)
        if isinstance(reading.outcome, ForbiddenError):
            raise ForbiddenError(reading.outcome.message, subject=reading.outcome.subject)
        return reading.outcome

    def _read(self, key: tuple[str, str], run: str, now: datetime) -> _Reading:
        try:
            found = self._cluster.get(SERVICE_ACCOUNTS, *key)
        except ForbiddenError as error:
            reading = _Reading(now, run, error)
        else:
            secrets = listed_names(found.get("secrets"))
            pull_secrets = listed_names(found.get("imagePullSecrets"))
            reading = _Reading(now, run, AccountSecrets(secrets, pull_secrets))
        if _characters(reading) <= _MOST_CHARACTERS:
            with self._lock:
                self._readings.pop(key, None)
                self._readings[key] = reading
                while len(self._readings) > _MOST_READINGS:
                    self._readings.popitem(last=False)
        return reading


def listed_names(references: object) -> tuple[str, ...]:
    """Return the names in a list of references to objects, each once; what names nothing is left out."""
    listed = references if isinstance(references, list) else []
    names = (reference.get("name") for reference in listed if isinstance(reference, dict))
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))


def _counts_for(reading: _Reading, taskrun: Object, now: datetime) -> bool:
    """Return whether a reading is recent, and certainly began after a run was created.

    A run that was edited, for instance after it was pending, or is tried again, may expect what its account
    lists since then.
    """
    metadata = taskrun["metadata"]
    if metadata.get("generation", 1) != 1 or attempt_number(taskrun):
        return False
    if not timedelta() <= now - reading.began <= _SHARED_FOR:
        return False
    if reading.run and reading.run == metadata.get("uid"):
        return True
    created = parse_time(metadata.get("creationTimestamp"))
    return created is not None and reading.began >= latest_start(created) + _CLOCK_DIFFERENCE


def _characters(reading: _Reading) -> int:
    if isinstance(reading.outcome, ForbiddenError):
        return len(reading.outcome.message)
    return sum(map(len, (*reading.outcome.secrets, *reading.outcome.pull_secrets)))

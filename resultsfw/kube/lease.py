"""Elect a leader among replicas by a Lease, safely also if their clocks differ."""

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from resultsfw.cluster import Kind, Object
from resultsfw.errors import AlreadyExistsError, ClusterError, ConflictError, NotFoundError, UnavailableError
from resultsfw.kube.cluster import KubeCluster
from resultsfw.kube.connection import Connection

__all__ = ["LEASES", "LeaderElector"]

log = logging.getLogger(__name__)

LEASES: Final = Kind("coordination.k8s.io", "v1", "leases", "Lease")


class LeaderElector:
    """Acquires a Lease when it is free, renews it, and releases it.

    Times that other replicas wrote are never compared with a clock: a Lease has expired when it has not
    *changed* for its duration, by this process's monotonic clock. Every write is conditional on the version
    that was read.

    Args:
        connection: The way to the server. Requests for the Lease are not rate-limited, and time out so early
            that one begun before ``renew_deadline`` ends before ``lease_seconds``.
        namespace: The namespace of the Lease.
        name: The name of the Lease.
        identity: Identifies this process; another one after a restart.
        on_started: Called when this process becomes the leader; must return soon.
        on_stopped: Called when it is the leader no longer. At a clean stop the Lease is renewed until it
            returns, so that no other replica begins before this one has ended.
        lease_seconds: Seconds after the last renewal for which other replicas wait.
        renew_deadline: Seconds after the last successful renewal at which this process stops leading.
        retry: Seconds between two attempts.
        clock: Returns seconds, monotonic.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        name: str,
        identity: str,
        *,
        on_started: Callable[[], None],
        on_stopped: Callable[[], None],
        lease_seconds: int = 15,
        renew_deadline: float = 10,
        retry: float = 2,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < retry < renew_deadline < lease_seconds:
            raise ValueError(
                f"retry ({retry} s) must be less than renew_deadline ({renew_deadline} s), "
                f"and that less than lease_seconds ({lease_seconds} s)"
            )
        # An attempt is at most two requests, each with a timeout to connect and one to wait.
        patience = (lease_seconds - renew_deadline) / 4
        self._cluster = KubeCluster(connection, timeouts=(patience, patience), limited=False)
        self._where = (namespace, name)
        self.identity = identity
        self._on_started = on_started
        self._on_stopped = on_stopped
        self._seconds = lease_seconds
        self._deadline = renew_deadline
        self._retry = retry
        self._clock = clock
        self._lease: Object = {}
        self._must_read = True
        self._seen_at = 0.0
        self._is_leader = threading.Event()

    @property
    def is_leader(self) -> bool:
        """Whether this process is the leader."""
        return self._is_leader.is_set()

    @property
    def leader(self) -> str:
        """The identity of the leader as last read; "" if there is none."""
        return str(self._spec.get("holderIdentity") or "")

    @property
    def lease_age(self) -> float:
        """Seconds since the leader renewed the Lease: as this process sent it, or saw the Lease change."""
        return self._clock() - self._seen_at

    @property
    def _spec(self) -> Object:
        """The Lease's spec as last read; empty where it has no valid one."""
        spec = self._lease.get("spec")
        return spec if isinstance(spec, dict) else {}

    def run(self, stop_event: threading.Event) -> None:
        """Take part in elections until stopped, also after the leadership was lost."""
        while not stop_event.is_set():
            if not self._acquire_or_renew():
                stop_event.wait(self._retry * random.uniform(1, 1.2))  # noqa: S311 - spreads load
                continue
            log.info("%s is the leader", self.identity)
            self._is_leader.set()
            try:
                self._on_started()
                kept = self._renew_until(stop_event)
            except BaseException:
                self._is_leader.clear()
                self._start_stopping().join()
                self._release()
                raise
            self._is_leader.clear()
            stopping = self._start_stopping()
            if not kept:
                log.error("%s lost the leadership: the lease could not be renewed", self.identity)
            elif self._renew_until(_ThreadEnd(stopping)):
                self._release()
            stopping.join()

    def _start_stopping(self) -> threading.Thread:
        def stopped() -> None:
            try:
                self._on_stopped()
            except Exception:
                log.exception("on_stopped failed")

        thread = threading.Thread(target=stopped, name="stop-leading", daemon=True)
        thread.start()
        return thread

    def _renew_until(self, until: "threading.Event | _ThreadEnd") -> bool:
        """Renew the Lease until the event; return ``False`` if it was lost."""
        renewed = self._seen_at
        while not until.wait(min(self._retry, max(0.0, renewed + self._deadline - self._clock()))):
            began = self._clock()
            if began >= renewed + self._deadline:
                return False
            if self._acquire_or_renew():
                # The lease runs from when the request was sent, not from when it was answered.
                renewed = began
            elif self.leader not in (self.identity, ""):
                return False  # another replica took it
        return True

    def _acquire_or_renew(self) -> bool:
        """Acquire or renew the Lease; return whether this process holds it."""
        began = self._clock()
        try:
            if self._must_read or self.leader != self.identity:
                self._read()
                if not self._is_free():
                    return False
            self._write(began)
        except (AlreadyExistsError, ConflictError, NotFoundError):
            self._must_read = True
            return False
        except ClusterError as error:
            log.warning("lease %s/%s: %s", *self._where, error.message)
            return False
        return True

    def _read(self) -> None:
        """Read the Lease, and note when it changed."""
        try:
            lease = self._cluster.get(LEASES, *self._where)
        except NotFoundError:
            lease = {}
        if lease.get("spec") != self._lease.get("spec"):
            self._seen_at = self._clock()
        self._lease = lease
        self._must_read = False

    def _is_free(self) -> bool:
        if self.leader in ("", self.identity):
            return True
        seconds = self._spec.get("leaseDurationSeconds")
        if not isinstance(seconds, int) or seconds <= 0:
            seconds = self._seconds
        return self._clock() >= self._seen_at + seconds

    def _write(self, began: float) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: Object = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._seconds,
            "renewTime": now,
        }
        if self.leader != self.identity:
            spec["acquireTime"] = now
            before = self._spec.get("leaseTransitions")
            spec["leaseTransitions"] = (before if isinstance(before, int) else 0) + 1
        if not self._lease:
            namespace, name = self._where
            spec["leaseTransitions"] = 0
            lease = {"metadata": {"namespace": namespace, "name": name}, "spec": spec}
            self._lease = self._cluster.create(LEASES, lease)
        else:
            self._lease = self._patched(spec)
        self._seen_at = began

    def _patched(self, spec: Object) -> Object:
        version = self._lease["metadata"].get("resourceVersion")
        if not isinstance(version, str):
            raise UnavailableError("the lease has no resourceVersion: two replicas could acquire it")
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        return self._cluster.patch(LEASES, *self._where, patch)

    def _release(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
        try:
            # The response to the last write may have been lost: its version would be unknown.
            self._read()
            if self.leader == self.identity:
                self._lease = self._patched(spec)
        except ClusterError as error:
            log.warning("lease %s/%s cannot be released: %s", *self._where, error.message)
        self._must_read = True


class _ThreadEnd:
    """The end of a thread, with the interface of an event."""

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread

    def wait(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

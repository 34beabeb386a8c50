"""Leader election by a Lease: of all who run, one works; safe where clocks differ."""

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
    """Takes a Lease when it is free, keeps it, and gives it back.

    What others wrote is never compared with a clock: a Lease has run out when it has not *changed*
    for its duration, by our own monotonic clock. Every write is conditional on the version read.

    Args:
        connection: The way to the server. Requests for the Lease do not wait for their turn, and are
            given up so early that one begun before ``renew_deadline`` ends before ``lease_seconds``.
        namespace: Of the Lease.
        name: Of the Lease.
        identity: Who we are; of each process another, also after a restart.
        on_started: Called when we lead; must return soon.
        on_stopped: Called when we do not any more. Where we stop by ourselves the Lease is kept until it
            returns, so that nobody begins before we ended.
        lease_seconds: Others wait so long after our last sign of life.
        renew_deadline: We stop so long after our last sign of life that arrived.
        retry: Seconds between two tries.
        clock: Tells seconds; monotonic.
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
        # A try is two requests at most, each of them connecting and waiting.
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
        self._must_look = True
        self._seen_at = 0.0
        self._leads = threading.Event()

    @property
    def leads(self) -> bool:
        """Whether we lead."""
        return self._leads.is_set()

    @property
    def leader(self) -> str:
        """Who leads, as far as is known."""
        return str(self._spec.get("holderIdentity") or "")

    @property
    def _spec(self) -> Object:
        """The Lease's, as last seen; empty where it has none that can be read."""
        spec = self._lease.get("spec")
        return spec if isinstance(spec, dict) else {}

    def run(self, stop_event: threading.Event) -> None:
        """Stand for election until stopped; after a loss, again."""
        while not stop_event.is_set():
            if not self._try():
                stop_event.wait(self._retry * random.uniform(1, 1.2))  # noqa: S311 - spreads load
                continue
            log.info("%s leads", self.identity)
            self._leads.set()
            try:
                self._on_started()
                kept = self._keep(stop_event)
            except BaseException:
                self._leads.clear()
                self._stopping().join()
                self._release()
                raise
            self._leads.clear()
            stopping = self._stopping()
            if not kept:
                log.error("%s does not lead any more: the lease could not be renewed", self.identity)
            elif self._keep(_Ended(stopping)):
                self._release()
            stopping.join()

    def _stopping(self) -> threading.Thread:
        def stopped() -> None:
            try:
                self._on_stopped()
            except Exception:
                log.exception("stopping failed")

        thread = threading.Thread(target=stopped, name="stop-leading", daemon=True)
        thread.start()
        return thread

    def _keep(self, until: "threading.Event | _Ended") -> bool:
        """Renew until the event; ``False`` when the Lease was lost."""
        renewed = self._seen_at
        while not until.wait(min(self._retry, max(0.0, renewed + self._deadline - self._clock()))):
            began = self._clock()
            if began >= renewed + self._deadline:
                return False
            if self._try():
                # The lease counts from when the request was sent, not from when it was answered.
                renewed = began
            elif self.leader not in (self.identity, ""):
                return False  # somebody took it: we were believed dead
        return True

    def _try(self) -> bool:
        """Take the Lease, or renew it."""
        began = self._clock()
        try:
            if self._must_look or self.leader != self.identity:
                self._look()
                if not self._is_free():
                    return False
            self._write(began)
        except (AlreadyExistsError, ConflictError, NotFoundError):
            self._must_look = True
            return False
        except ClusterError as error:
            log.warning("lease %s/%s: %s", *self._where, error.message)
            return False
        return True

    def _look(self) -> None:
        try:
            lease = self._cluster.get(LEASES, *self._where)
        except NotFoundError:
            lease = {}
        if lease.get("spec") != self._lease.get("spec"):
            self._seen_at = self._clock()
        self._lease = lease
        self._must_look = False

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
            raise UnavailableError("the lease has no version: two replicas could hold it")
        patch = {"metadata": {"resourceVersion": version}, "spec": spec}
        return self._cluster.patch(LEASES, *self._where, patch)

    def _release(self) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
        try:
            # The answer to the last write may not have come: its version would be unknown.
            self._look()
            if self.leader == self.identity:
                self._lease = self._patched(spec)
        except ClusterError as error:
            log.warning("lease %s/%s cannot be given back: %s", *self._where, error.message)
        self._must_look = True


class _Ended:
    """The end of a thread, as an event to wait for."""

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread

    def wait(self, timeout: float) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

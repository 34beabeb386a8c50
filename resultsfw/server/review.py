"""Who asks, and what that one may: TokenReview and SubjectAccessReview, their answers kept for seconds."""

import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from resultsfw.cluster import Kind, Object
from resultsfw.errors import ClusterError
from resultsfw.server.refusals import RefusalError

__all__ = ["AUDIENCE", "ClusterReviewer", "Identity", "Remembered", "Reviewer"]

log = logging.getLogger(__name__)

AUDIENCE: Final = "resultsfw-results"
"""Of tokens, unless told otherwise."""

TOKEN_REVIEWS: Final = Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")
ACCESS_REVIEWS: Final = Kind("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")

GROUP: Final = "resultsfw.dev"
RESOURCE: Final = "results"

REMEMBERED: Final = 5.0
"""Seconds for which an answer is taken for true: a right that was taken away lasts so long."""

REFUSED: Final = 2.0
"""Seconds for which a refusal is taken for true: a right that is granted comes into force so much later."""

_MOST: Final = 1024
"""Answers that are kept at once, of each kind."""

_ACCOUNT: Final = "system:serviceaccount:"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whom a token stands for, as the cluster says it."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Of a service account; "" for anybody else."""
        if not self.username.startswith(_ACCOUNT):
            return ""
        return self.username.removeprefix(_ACCOUNT).partition(":")[0]

    @property
    def pod_uid(self) -> str:
        """Of the pod the token is bound to; "" for one that is not."""
        uids = self.extra.get(_POD_UID, ())
        return uids[0] if len(uids) == 1 else ""


class Reviewer(Protocol):
    """Says who asks and what that one may. Safe for threads."""

    def review(self, token: str) -> Identity | None:
        """Whom a token for our audience stands for; nobody if it is no such token.

        Raises:
            RefusalError: It cannot be known now.
        """
        ...

    def known(self, token: str) -> tuple[bool, Identity | None]:
        """Return whether the answer of `review` is known, and that answer. Asks nobody."""
        ...

    def allows(self, identity: Identity, verb: str, namespace: str) -> bool:
        """Whether it may ``get`` or ``delete`` the results of runs in a namespace. Raises the same."""
        ...


class Remembered(Generic[_Answer]):
    """Answers that may be given again for some seconds; a bounded number of them. Safe for threads."""

    def __init__(
        self, seconds: float = REMEMBERED, most: int = _MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, _Answer]] = OrderedDict()

    def get(self, key: str) -> _Answer | None:
        """The answer, if it is not too old."""
        with self._lock:
            found = self._kept.get(key)
            return found[1] if found is not None and found[0] > self._clock() else None

    def keep(self, key: str, answer: _Answer) -> _Answer:
        """Keep an answer, and return it."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (self._clock() + self._seconds, answer)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return answer


class Creates(Protocol):
    """What of a cluster is asked here."""

    def create(self, kind: Kind, obj: Object, /) -> Object:
        """Have a review made."""
        ...


class ClusterReviewer:
    """Asks an API server, and remembers its answers for seconds: refusals too, or each would cost a request.

    Refusals are kept apart: however many there are, they take no room from answers that are worth keeping.
    Who asks the same while the answer is awaited waits for that one.

    Args:
        cluster: Of a service account that may create both kinds of review (``system:auth-delegator``).
        audience: That a token must be for.
    """

    def __init__(self, cluster: Creates, audience: str = AUDIENCE) -> None:
        self._cluster = cluster
        self._audience = audience
        self._lock = threading.Lock()
        self._awaited: dict[str, Future[Identity | None]] = {}
        self._identities: Remembered[Identity] = Remembered()
        self._unknown: Remembered[bool] = Remembered(REFUSED)
        self._allowed: Remembered[bool] = Remembered()
        self._forbidden: Remembered[bool] = Remembered(REFUSED)

    def known(self, token: str) -> tuple[bool, Identity | None]:
        """See `Reviewer`."""
        return self._known(_key(token))

    def review(self, token: str) -> Identity | None:
        """See `Reviewer`."""
        key = _key(token)
        with self._lock:
            found, identity = self._known(key)
            if found:
                return identity
            first = key not in self._awaited
            answer = self._awaited.setdefault(key, Future())
        if not first:
            return answer.result()
        try:
            identity = self._identify(token)
            if identity is None:
                self._unknown.keep(key, True)
            else:
                self._identities.keep(key, identity)
            answer.set_result(identity)
        except BaseException as error:
            answer.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._awaited[key]
        return identity

    def allows(self, identity: Identity, verb: str, namespace: str) -> bool:
        """See `Reviewer`."""
        key = repr((identity, verb, namespace))
        if self._allowed.get(key):
            return True
        if self._forbidden.get(key):
            return False
        wanted = {"namespace": namespace, "verb": verb, "group": GROUP, "resource": RESOURCE}
        spec: dict[str, Any] = {
            "user": identity.username,
            "uid": identity.uid,
            "groups": list(identity.groups),
            "extra": {name: list(values) for name, values in identity.extra.items()},
            "resourceAttributes": wanted,
        }
        allowed = self._ask(ACCESS_REVIEWS, spec).get("allowed") is True
        (self._allowed if allowed else self._forbidden).keep(key, True)
        return allowed

    def _known(self, key: str) -> tuple[bool, Identity | None]:
        identity = self._identities.get(key)
        return identity is not None or self._unknown.get(key) is not None, identity

    def _identify(self, token: str) -> Identity | None:
        status = self._ask(TOKEN_REVIEWS, {"token": token, "audiences": [self._audience]})
        user = status.get("user") or {}
        # An authenticator that knows nothing of audiences names none; it vouches for a token for anybody.
        if status.get("authenticated") is not True or self._audience not in (status.get("audiences") or ()):
            return None
        return Identity(
            username=str(user.get("username") or ""),
            uid=str(user.get("uid") or ""),
            groups=tuple(user.get("groups") or ()),
            extra={name: tuple(values) for name, values in (user.get("extra") or {}).items()},
        )

    def _ask(self, kind: Kind, spec: Object) -> Object:
        try:
            status: Object = self._cluster.create(kind, {"metadata": {}, "spec": spec}).get("status") or {}
        except ClusterError as error:
            log.error("could not create a %s: %s (%s)", kind.kind, error.message, error.code)  # noqa: TRY400
            raise RefusalError(
                "Unavailable", f"the server cannot create a {kind.kind} now; see the server's log"
            ) from error
        return status


def _key(token: str) -> str:
    """What answers are kept under: the token itself is kept nowhere."""
    return hashlib.sha256(token.encode()).hexdigest()

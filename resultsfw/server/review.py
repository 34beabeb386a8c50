"""Authenticate and authorize clients by TokenReview and SubjectAccessReview, with a cache of seconds."""

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

__all__ = ["AUDIENCE", "ClusterReviewer", "ExpiringCache", "Identity", "Reviewer"]

log = logging.getLogger(__name__)

AUDIENCE: Final = "resultsfw-results"
"""The default audience of tokens."""

TOKEN_REVIEWS: Final = Kind("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")
ACCESS_REVIEWS: Final = Kind("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")

GROUP: Final = "resultsfw.dev"
RESOURCE: Final = "results"

CACHED: Final = 5.0
"""Seconds for which a positive answer is cached: a revoked permission lasts so long."""

REFUSED: Final = 2.0
"""Seconds for which a negative answer is cached: a new permission takes effect so much later."""

_MOST: Final = 1024
"""Cached answers of each kind."""

_ACCOUNT: Final = "system:serviceaccount:"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user of a token, as the API server authenticated it."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """The namespace of a service account; "" for another user."""
        if not self.username.startswith(_ACCOUNT):
            return ""
        return self.username.removeprefix(_ACCOUNT).partition(":")[0]

    @property
    def pod_uid(self) -> str:
        """The uid of the pod that the token is bound to; "" if it is not bound to one."""
        uids = self.extra.get(_POD_UID, ())
        return uids[0] if len(uids) == 1 else ""


class Reviewer(Protocol):
    """Authenticates and authorizes clients. Safe for threads."""

    def review(self, token: str) -> Identity | None:
        """Return the user of a token with this server's audience; ``None`` for an invalid token.

        Raises:
            RefusalError: The API server did not answer.
        """
        ...

    def known(self, token: str) -> tuple[bool, Identity | None]:
        """Return whether the answer of `review` is cached, and that answer. Makes no request."""
        ...

    def allows(self, identity: Identity, verb: str, namespace: str) -> bool:
        """Return whether a user may ``get`` or ``delete`` results in a namespace. Raises as `review`."""
        ...


class ExpiringCache(Generic[_Answer]):
    """A cache of a limited number of answers, each for some seconds. Safe for threads."""

    def __init__(
        self, seconds: float = CACHED, most: int = _MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[float, _Answer]] = OrderedDict()

    def get(self, key: str) -> _Answer | None:
        """Return the cached answer; ``None`` if there is none, or it expired."""
        with self._lock:
            found = self._kept.get(key)
            return found[1] if found is not None and found[0] > self._clock() else None

    def put(self, key: str, answer: _Answer) -> _Answer:
        """Cache an answer, and return it."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (self._clock() + self._seconds, answer)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return answer


class Creates(Protocol):
    """The part of a `Cluster` that reviews need."""

    def create(self, kind: Kind, obj: Object, /) -> Object:
        """Create a review, and return the API server's answer."""
        ...


class ClusterReviewer:
    """Asks an API server, and caches its answers for seconds, negative ones, too.

    Negative answers have caches of their own, so that however many there are, they evict no positive ones.
    Concurrent reviews of one token share one request.

    Args:
        cluster: With a service account that may create both kinds of review (``system:auth-delegator``).
        audience: The audience that a token must have.
    """

    def __init__(self, cluster: Creates, audience: str = AUDIENCE) -> None:
        self._cluster = cluster
        self._audience = audience
        self._lock = threading.Lock()
        self._awaited: dict[str, Future[Identity | None]] = {}
        self._identities: ExpiringCache[Identity] = ExpiringCache()
        self._unknown: ExpiringCache[bool] = ExpiringCache(REFUSED)
        self._allowed: ExpiringCache[bool] = ExpiringCache()
        self._forbidden: ExpiringCache[bool] = ExpiringCache(REFUSED)

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
                self._unknown.put(key, True)
            else:
                self._identities.put(key, identity)
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
        (self._allowed if allowed else self._forbidden).put(key, True)
        return allowed

    def _known(self, key: str) -> tuple[bool, Identity | None]:
        identity = self._identities.get(key)
        return identity is not None or self._unknown.get(key) is not None, identity

    def _identify(self, token: str) -> Identity | None:
        status = self._ask(TOKEN_REVIEWS, {"token": token, "audiences": [self._audience]})
        user = status.get("user") or {}
        # An authenticator that does not know audiences names none: it accepts tokens of any audience.
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
    """Return the cache key of a token: the token itself is stored nowhere."""
    return hashlib.sha256(token.encode()).hexdigest()

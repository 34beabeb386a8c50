"""Answer ResolutionRequests on this machine, as Tekton's resolvers answer them on a cluster.

``cluster`` reads the objects of the store. ``http`` and ``git`` fetch from elsewhere what would then run as
processes of this user, so each works only where a person has allowed it by name.
"""

import base64
import contextlib
import hashlib
import json
import queue
import threading
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.documents import DocumentError, read_first
from resultsfw.errors import ClusterError, NotFoundError, ResultsError
from resultsfw.local.fetching import Fetched, FetchError, Git, fetch_http
from resultsfw.local.host_paths import HOST_PATH, host_path_in
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import PIPELINES, RESOLUTION_REQUESTS, STEP_ACTIONS, TASKS
from resultsfw.tekton.resolution.requests import TYPE_LABEL

__all__ = ["CLUSTER", "FETCHING", "Resolvers", "refusal_of"]

CLUSTER: Final = "cluster"
FETCHING: Final = ("git", "http")
"""Resolvers that fetch from elsewhere."""

_KINDS: Final[Mapping[str, Kind]] = {"task": TASKS, "pipeline": PIPELINES, "stepaction": STEP_ACTIONS}
_PARAMS: Final[Mapping[str, frozenset[str]]] = {
    CLUSTER: frozenset({"kind", "name", "namespace", "cache"}),
    "http": frozenset({"url", "cache"}),
    "git": frozenset({"url", "revision", "pathInRepo", "cache"}),
}
"""Params that are followed; ``cache`` has no effect here."""


def refusal_of(resolver: str, allowed: Collection[str]) -> str:
    """Return why a resolver answers nothing here, and what to do; empty if it does.

    Args:
        resolver: Its type.
        allowed: The resolvers of `FETCHING` that a person has allowed.
    """
    if resolver == CLUSTER or (resolver in FETCHING and resolver in allowed):
        return ""
    if resolver in FETCHING:
        return (
            f'the resolver "{resolver}" fetches what then runs as processes of yours: allow it with '
            f"--resolver {resolver}, or put what it fetches into one of the files and refer to it by name"
        )
    return (
        f'there is no resolver "{resolver}" without a cluster: put what it fetches into one of the files and '
        f"refer to it by name"
    )


class Resolvers:
    """Answers the ResolutionRequests of one engine, one after the other, on a thread of its own.

    Args:
        store: Where requests and objects are.
        allowed: The resolvers of `FETCHING` that may be used.
    """

    def __init__(self, store: Cluster, allowed: Collection[str] = ()) -> None:
        self._store = store
        self._allowed = frozenset(allowed)
        self._git = Git()
        self._fetch: Mapping[str, Callable[[Mapping[str, str]], Fetched]] = {
            CLUSTER: self._read,
            "http": fetch_http,
            "git": self._git.fetch,
        }
        self._requests: queue.SimpleQueue[Object | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="resultsfw-resolvers", daemon=True)
        self._thread.start()

    def submit(self, request: Object) -> None:
        """Answer a request soon."""
        self._requests.put(request)

    def stop(self) -> None:
        """Stop what is being fetched; nothing is answered afterwards."""
        self._requests.put(None)
        self._git.stop()

    def _work(self) -> None:
        while (request := self._requests.get()) is not None:
            metadata = request["metadata"]
            status = self._answer(request)
            with contextlib.suppress(ClusterError):  # it was deleted: whoever needs it makes it again
                self._store.patch(
                    RESOLUTION_REQUESTS,
                    metadata["namespace"],
                    metadata["name"],
                    {"status": status},
                    subresource="status",
                )

    def _answer(self, request: Object) -> Object:
        """Return the status that answers a request."""
        metadata, now = request["metadata"], datetime.now(UTC)
        resolver = (metadata.get("labels") or {}).get(TYPE_LABEL) or ""
        try:
            found = self._found(resolver, request)
        except ResultsError as error:
            why = f'error getting "{resolver.title()}" "{metadata["namespace"]}/{metadata["name"]}": '
            return {"conditions": [condition("False", "ResolutionFailed", why + error.message, now)]}
        except Exception as error:  # noqa: BLE001 - the run must not wait for ever
            why = f"internal error of the resolver: {type(error).__name__}"
            return {"conditions": [condition("False", "ResolutionFailed", why, now)]}
        return {
            "data": base64.b64encode(found.content).decode(),
            "refSource": found.source,
            "conditions": [condition("True", "Succeeded", "", now)],
        }

    def _found(self, resolver: str, request: Object) -> Fetched:
        """Return what a resolver finds.

        Raises:
            FetchError: It finds nothing, is asked for what it does not do, or may not be used.
        """
        if why := refusal_of(resolver, self._allowed):
            raise FetchError(why)
        params = {param["name"]: param.get("value") for param in request["spec"].get("params") or ()}
        if unknown := sorted(params.keys() - _PARAMS[resolver]):
            known = ", ".join(sorted(_PARAMS[resolver]))
            raise FetchError(f'its param "{unknown[0]}" is not supported without a cluster; known: {known}')
        texts = {name: value for name, value in params.items() if isinstance(value, str)}
        if len(texts) < len(params):
            raise FetchError("its params must be texts")
        if url := request["spec"].get("url"):
            texts.setdefault("url", url)
        found = self._fetch[resolver](texts)
        _refuse_host_path(found.content)
        return found

    def _read(self, params: Mapping[str, str]) -> Fetched:
        """Return an object of the store, as the resolver ``cluster`` does.

        Raises:
            FetchError: There is none.
        """
        kind, namespace, name = params.get("kind") or "task", params.get("namespace"), params.get("name")
        if kind not in _KINDS:
            raise FetchError(f"unknown or invalid resource kind {kind}")
        if not namespace or not name:
            raise FetchError("missing required cluster resolver params: name, namespace")
        try:
            found = self._store.get(_KINDS[kind], namespace, name)
        except NotFoundError as error:
            raise FetchError(f'{_KINDS[kind].plural}.tekton.dev "{name}" not found') from error
        content = json.dumps(found).encode()
        digest = hashlib.sha256(json.dumps(found["spec"], sort_keys=True).encode()).hexdigest()
        uid = found["metadata"].get("uid", "")
        uri = f"/apis/{_KINDS[kind].api_version}/namespaces/{namespace}/{kind}/{name}@{uid}"
        return Fetched(content, {"uri": uri, "digest": {"sha256": digest}})


def _refuse_host_path(content: bytes) -> None:
    """Raise for a document with a volume of this machine, as for one of the files.

    A document that is not read here is not read by the run that wants it, either.

    Raises:
        FetchError: It has one.
    """
    field = ""
    with contextlib.suppress(DocumentError, UnicodeDecodeError, AttributeError, KeyError, TypeError):
        field = host_path_in(read_first(content.decode("utf-8")))
    if field:
        raise FetchError(f"{field} {HOST_PATH}")

"""The `Cluster` protocol on a real API server, as far as these tests need it: plain HTTP, no client."""

import base64
import http.client
import json
import ssl
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from resultsfw import Kind, Object
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ObjectTooLargeError,
    UnavailableError,
)


class ApiServer:
    """One connection for each request; not made for speed."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = next(
            context for context in config["contexts"] if context["name"] == config["current-context"]
        )["context"]
        cluster = next(cluster for cluster in config["clusters"] if cluster["name"] == context["cluster"])[
            "cluster"
        ]
        user = next(user for user in config["users"] if user["name"] == context["user"])["user"]
        self._url = urllib.parse.urlsplit(cluster["server"])
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._tls = ssl.create_default_context()
        if cluster.get("insecure-skip-tls-verify"):
            self._tls.check_hostname, self._tls.verify_mode = False, ssl.CERT_NONE
        if authority := cluster.get("certificate-authority-data"):
            self._tls.load_verify_locations(cadata=base64.b64decode(authority).decode())
        if "client-certificate-data" in user:
            with tempfile.TemporaryDirectory() as folder:
                files = [Path(folder, name) for name in ("crt", "key")]
                for file, key in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
                    file.write_bytes(base64.b64decode(user[key]))
                self._tls.load_cert_chain(*files)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return str(self._url.hostname), self._url.port or 443

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        return self._json("GET", _path(kind, namespace, name))

    def get_path(self, path: str) -> Object:
        """What a path answers that is no object of a namespace: a list of the kinds that are served."""
        return self._json("GET", path)

    def list(self, kind: Kind, namespace: str) -> list[Object]:
        items: list[Object] = self._json("GET", _path(kind, namespace, ""))["items"]
        return items

    def create(self, kind: Kind, obj: Object) -> Object:
        return self._json("POST", _path(kind, obj["metadata"]["namespace"], ""), obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        path = _path(kind, namespace, name) + (f"/{subresource}" if subresource else "")
        return self._json("PATCH", path, patch)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        options = {} if grace_seconds is None else {"gracePeriodSeconds": grace_seconds}
        self._json("DELETE", _path(kind, namespace, name), options)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}&limitBytes={limit}"
        connection, reply = self._request("GET", path)
        try:
            while piece := reply.read(65_536):
                yield piece
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: Object | None = None) -> Any:
        connection, reply = self._request(method, path, body)
        try:
            return json.loads(reply.read())
        finally:
            connection.close()

    def _request(
        self, method: str, path: str, body: Object | None = None
    ) -> tuple[http.client.HTTPSConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(
            str(self._url.hostname), self._url.port, context=self._tls, timeout=60
        )
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {**self._headers, "Content-Type": kind}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        reply = connection.getresponse()
        if reply.status >= http.HTTPStatus.BAD_REQUEST:
            text = reply.read().decode(errors="replace")
            connection.close()
            raise _error(reply.status, text, path)
        return connection, reply


def _path(kind: Kind, namespace: str, name: str) -> str:
    group = f"/apis/{kind.group}" if kind.group else "/api"
    where = f"namespaces/{namespace}/" if namespace else ""
    return f"{group}/{kind.version}/{where}{kind.plural}" + (f"/{name}" if name else "")


def _error(status: int, text: str, path: str) -> ClusterError:
    try:
        said = json.loads(text)
    except ValueError:
        said = {"message": text[:500]}
    message, reason = said.get("message", ""), said.get("reason", "")
    if "too large" in message:
        return ObjectTooLargeError(message, subject=path)
    if reason == "AlreadyExists":
        return AlreadyExistsError(message, subject=path)
    kinds = {401: ForbiddenError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError}
    return kinds.get(status, UnavailableError if status in (429, *range(500, 600)) else ClusterError)(
        message, subject=path
    )

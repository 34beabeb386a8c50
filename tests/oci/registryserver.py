"""A container registry on loopback that checks what it is sent as the specification says, and a real one."""

import base64
import ctypes
import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import MutableMapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
USER, PASSWORD = "pusher", "planted-password"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
PROGRAM = shutil.which("docker-registry")
_STARTS = 5  # a port that was free a moment ago may not be

_NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
_PATH = re.compile(
    rf"/v2/(?P<name>{_NAME})/(?P<what>blobs/uploads|blobs|manifests|referrers)/(?P<rest>[^/]*)"
)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class RegistryServer:
    """Repositories in memory.

    Args:
        login: "" for none; "basic", or "bearer" with tokens for one repository and its actions.
        referrers: Whether it keeps the lists of referrers (OCI 1.1).
        deletes: Whether it deletes manifests.
        tls: Its TLS context, if it has one.
        listen: The address on which it listens, and by which it is known.

    Attributes:
        requests: Method, path and Authorization of each request.
        faults: Called with each request's handler; if it returns true, it has answered.
    """

    def __init__(self, *, login="", referrers=False, deletes=True, tls=None, listen="127.0.0.1"):
        self.login, self.referrers, self.deletes = login, referrers, deletes
        self.blobs, self.manifests, self.tags = defaultdict(dict), defaultdict(dict), defaultdict(dict)
        self.uploads, self.requests = {}, []
        self.faults = lambda _handler: False
        registry = self

        class Handler(_Handler):
            server_registry = registry

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # clients hang up

        self.server = Server((listen, 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.scheme = "http" if tls is None else "https"
        self.host = f"{listen}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def config_json(self):
        """What a Secret with the login has."""
        return json.dumps({"auths": {self.host: {"username": USER, "password": PASSWORD}}})

    def asked(self, method="", text=""):
        return [path for asked, path, _ in self.requests if asked.startswith(method) and text in path]

    def push_image(self, repository, tag="latest"):
        """Put an image there; returns its digest."""
        config = b"{}"
        self.blobs[repository][digest_of(config)] = config
        body = json.dumps(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": described(config), "layers": []}
        )
        digest = digest_of(body.encode())
        self.manifests[repository][digest] = MANIFEST, body.encode()
        self.tags[repository][tag] = digest
        return digest

    @contextmanager
    def fault(self, fault):
        """Have a fault within the block: "down", "slow" or "full"."""
        over = threading.Event()

        def answer(handler):
            if fault == "full" and handler.command != "POST":
                return False
            if fault == "full":
                handler.reply(403, "DENIED")
            elif fault == "slow":
                over.wait(60)
            handler.close_connection = True
            return True

        self.faults = answer
        try:
            yield
        finally:
            over.set()
            self.faults = lambda _handler: False

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def described(data, media_type="application/vnd.oci.image.config.v1+json"):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_registry: RegistryServer

    def _handle(self):
        registry = self.server_registry
        registry.requests.append((self.command, self.path, self.headers.get("Authorization", "")))
        if registry.faults(self):
            return
        url = urlsplit(self.path)
        if url.path == "/v2/" and not registry.login:
            self.reply(200, b"{}")
            return
        if url.path == "/token":
            self._token(parse_qs(url.query))
            return
        found = _PATH.fullmatch(url.path)
        if found is None:
            self.reply(400, "NAME_INVALID")
        elif self._allowed(found["name"]):
            getattr(self, "_" + found["what"].replace("/", "_"))(
                found["name"], found["rest"], parse_qs(url.query)
            )

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - the server's names

    def _allowed(self, name):
        registry, given = self.server_registry, self.headers.get("Authorization", "")
        action = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(self.command, "pull,push")
        if not registry.login or (registry.login == "basic" and given == BASIC):
            return True
        if registry.login == "basic":
            self.reply(401, "UNAUTHORIZED", **{"WWW-Authenticate": 'Basic realm="r"'})
            return False
        scope = f"repository:{name}:{action}"
        if given == f"Bearer {_token_of(scope)}" or (
            action == "pull" and given == f"Bearer {_token_of(f'repository:{name}:pull,push')}"
        ):
            return True
        challenge = f'Bearer realm="{registry.scheme}://{registry.host}/token",service="s",scope="{scope}"'
        self.reply(401, "UNAUTHORIZED", **{"WWW-Authenticate": challenge})
        return False

    def _token(self, query):
        if self.headers.get("Authorization") != BASIC or query["service"] != ["s"]:
            self.reply(401, "UNAUTHORIZED")
        else:
            self.reply(200, json.dumps({"token": _token_of(query["scope"][0])}).encode())

    def _blobs_uploads(self, name, rest, query):
        registry = self.server_registry
        if self.command == "POST" and not rest:
            source = registry.blobs.get(query.get("from", [""])[0], {})
            if query.get("mount", [""])[0] in source:
                digest = query["mount"][0]
                registry.blobs[name][digest] = source[digest]
                self.reply(201, b"", Location=f"/v2/{name}/blobs/{digest}")
                return
            upload = f"u{len(registry.uploads)}"
            registry.uploads[upload] = name
            self.reply(202, b"", Location=f"/v2/{name}/blobs/uploads/{upload}?_state=planted-state")
            return
        size = int(self.headers["Content-Length"])  # a body of unknown size is not what we send
        data = self.rfile.read(size)
        if registry.uploads.pop(rest, None) != name or query.get("_state") != ["planted-state"]:
            self.reply(404, "BLOB_UPLOAD_UNKNOWN")
        elif len(data) != size:
            self.close_connection = True
        elif digest_of(data) != query["digest"][0]:
            self.reply(400, "DIGEST_INVALID")
        else:
            registry.blobs[name][digest_of(data)] = data
            self.reply(201, b"", Location=f"/v2/{name}/blobs/{digest_of(data)}")

    def _blobs(self, name, digest, _query):
        data = self.server_registry.blobs[name].get(digest)
        self.reply(404, "BLOB_UNKNOWN") if data is None else self.reply(200, data)

    def _manifests(self, name, reference, _query):
        registry = self.server_registry
        digest = reference if _DIGEST.fullmatch(reference) else registry.tags[name].get(reference)
        if self.command == "PUT":
            self._put_manifest(name, reference)
        elif digest not in registry.manifests[name]:
            self.reply(404, "MANIFEST_UNKNOWN" if registry.manifests[name] else "NAME_UNKNOWN")
        elif self.command == "DELETE":
            if not registry.deletes or reference != digest:
                self.reply(405, "UNSUPPORTED")
                return
            del registry.manifests[name][digest]
            for tag in [tag for tag, named in registry.tags[name].items() if named == digest]:
                del registry.tags[name][tag]
            self.reply(202, b"")
        else:
            kind, body = registry.manifests[name][digest]
            assert kind in self.headers["Accept"]
            self.reply(200, body, **{"Content-Type": kind, "Docker-Content-Digest": digest})

    def _put_manifest(self, name, reference):
        registry = self.server_registry
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind, digest = self.headers["Content-Type"], digest_of(body)
        try:
            manifest = json.loads(body)
            assert manifest["schemaVersion"] == 2
            assert manifest["mediaType"] == kind
            assert reference == digest or _TAG.fullmatch(reference)
            listed = manifest["manifests"] if kind == INDEX else [manifest["config"], *manifest["layers"]]
            there = registry.manifests[name] if kind == INDEX else registry.blobs[name]
            for entry in listed:
                assert entry["digest"] in there
                data = there[entry["digest"]][1] if kind == INDEX else there[entry["digest"]]
                assert len(data) == entry["size"]
            assert all(isinstance(text, str) for text in manifest.get("annotations", {}).values())
        except (AssertionError, KeyError, ValueError):
            self.reply(400, "MANIFEST_INVALID")
            return
        registry.manifests[name][digest] = kind, body
        if reference != digest:
            registry.tags[name][reference] = digest
        subject = (
            {"OCI-Subject": manifest["subject"]["digest"]}
            if registry.referrers and "subject" in manifest
            else {}
        )
        self.reply(201, b"", Location=f"/v2/{name}/manifests/{digest}", **subject)

    def _referrers(self, name, digest, _query):
        registry = self.server_registry
        if not registry.referrers:
            self.reply(404, "UNSUPPORTED")
            return
        listed = []
        for known, (kind, body) in registry.manifests[name].items():
            manifest = json.loads(body)
            if manifest.get("subject", {}).get("digest") == digest:
                listed.append(
                    {
                        "mediaType": kind,
                        "digest": known,
                        "size": len(body),
                        "artifactType": manifest["artifactType"],
                    }
                )
        self.reply(
            200,
            json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}).encode(),
            **{"Content-Type": INDEX},
        )

    def reply(self, status, body=b"", **headers):
        if isinstance(body, str):  # the code of an error, and words that nobody repeats
            body = json.dumps({"errors": [{"code": body, "message": "planted-words"}]}).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def _token_of(scope):
    return "planted-token-" + hashlib.sha256(scope.encode()).hexdigest()[:16]


class StoredValues(MutableMapping):
    """The values that manifests of a registry name, by repository and tag: what a run can still reach."""

    def __init__(self, registry):
        self._registry = registry

    def _layer(self, key):
        repository, _, tag = key.rpartition(":")
        digest = self._registry.tags[repository][tag]
        [layer] = json.loads(self._registry.manifests[repository][digest][1])["layers"]
        return self._registry.blobs[repository], layer["digest"]

    def __getitem__(self, key):
        blobs, digest = self._layer(key)
        return blobs[digest]

    def __setitem__(self, key, data):
        blobs, digest = self._layer(key)
        blobs[digest] = data

    def __delitem__(self, key):
        repository, _, tag = key.rpartition(":")
        del self._registry.tags[repository][tag]

    def __iter__(self):
        tags = self._registry.tags
        return iter([f"{repository}:{tag}" for repository in list(tags) for tag in list(tags[repository])])

    def __len__(self):
        return len(list(iter(self)))


class RealRegistry:
    """The program of the distribution project, as a process, without login."""

    def __init__(self, folder, *, deletes=True, listen="127.0.0.1"):
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        for _ in range(_STARTS):
            with socket.create_server((listen, 0)) as free:
                self.host = f"{listen}:{free.getsockname()[1]}"
            config = {
                "version": "0.1",
                "storage": {
                    "filesystem": {"rootdirectory": f"{folder}/data"},
                    "delete": {"enabled": deletes},
                },
                "http": {"addr": self.host},
                "log": {"level": "error"},
            }
            (folder / "config.yml").write_text(json.dumps(config))
            with self._log.open("wb") as log:
                command = [str(PROGRAM), "serve", str(folder / "config.yml")]
                self.process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_end_with_us)  # noqa: PLW1509 - see there
            if self._answers():
                return
        raise AssertionError(self._log.read_text())

    def _answers(self):
        """Wait until it does; false if it ended, because another process took the port meanwhile."""
        end = time.monotonic() + 60
        while self.process.poll() is None:
            try:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=5).close()
            except OSError:
                assert time.monotonic() < end, self._log.read_text()
                threading.Event().wait(0.05)
            else:
                return True
        return False

    def close(self):
        self.process.kill()
        self.process.wait()


def _end_with_us():
    """Tests that are killed stop nothing; this does no more than a call to the kernel."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

"""A container registry on loopback that says what a test tells it to, and counts what it is asked."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class FakeRegistry:
    """A registry; everything in it is below the repository ``team/image``.

    Args:
        tls: The server's context; ``None``: it has no TLS.

    Attributes:
        answers: By path, what is answered in place of the content: a function of the handler.
        requests: Path and Authorization header of each request.
        login: The Authorization header that is asked for; "" for none.
        challenge: The WWW-Authenticate header of an answer without it.
    """

    def __init__(self, tls=None):
        registry = self
        self.content, self.answers, self.requests = {}, {}, []
        self.login, self.challenge = "", ""

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                registry.requests.append((self.path, self.headers.get("Authorization", "")))
                answer = registry.answers.get(self.path.partition("?")[0])
                if answer is not None:
                    answer(self)
                elif registry.login and self.headers.get("Authorization") != registry.login:
                    self.reply(401, b"{}", **{"WWW-Authenticate": registry.challenge})
                elif self.path in registry.content:
                    kind, body = registry.content[self.path]
                    self.reply(200, body, **{"Content-Type": kind})
                else:
                    self.reply(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "hunter2"}]}')

            def reply(self, status, body, **headers):
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # the client tries TLS first, and closes what it does not need

        self.server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.name = f"{self.address}/team/image"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def put(self, path, kind, data):
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.content[f"/v2/team/image/{path}"] = kind, body
        return body

    def push(self, tag="latest", *, entrypoint=None, cmd=None, config=None, **platform):
        """Put an image there and return its digest."""
        about = {"os": "linux", "architecture": "amd64", "config": {"Entrypoint": entrypoint, "Cmd": cmd}}
        body = json.dumps(config if config is not None else about | platform).encode()
        self.put(f"blobs/{digest_of(body)}", "application/octet-stream", body)
        manifest = {"schemaVersion": 2, "mediaType": IMAGE, "config": {"digest": digest_of(body)}}
        return self._manifest(tag, IMAGE, manifest)

    def push_index(self, tag, *entries):
        """Put an index there, of digests and platforms."""
        listed = [
            {"digest": digest, "mediaType": IMAGE, "platform": platform} for digest, platform in entries
        ]
        return self._manifest(tag, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})

    def _manifest(self, tag, kind, manifest):
        digest = digest_of(self.put(f"manifests/{tag}", kind, manifest))
        self.put(f"manifests/{digest}", kind, manifest)
        return digest

    def asked(self, text):
        return [path for path, _ in self.requests if text in path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()

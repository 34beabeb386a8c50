"""An API server for reviews on loopback, a results server process, and a client."""

import http.client
import http.server
import json
import socket
import ssl
import sys
import threading
from dataclasses import dataclass, field

import trustme
import yaml
from running import Running

AUDIENCE = "resultsfw-results"
POD_UID = "authentication.kubernetes.io/pod-uid"
RUN = "11111111-0000-4000-8000-000000000001"
POD = "22222222-0000-4000-8000-000000000002"
OTHER = "33333333-0000-4000-8000-000000000003"
READER = "system:serviceaccount:resultsfw:resultsfw-controller"


def path(run=RUN, pod=POD, namespace="default", attempt=0):
    root = f"/v1/namespaces/{namespace}/runs/{run}/attempts/{attempt}"
    return root if pod is None else f"{root}/pods/{pod}"


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def code(self):
        return json.loads(self.body)["code"]

    @property
    def message(self):
        return json.loads(self.body)["message"]


@dataclass
class ReviewApi:
    """An API server that knows tokens and rights, and nothing else; as simple as it can be."""

    users: dict = field(default_factory=dict)
    rights: set = field(default_factory=set)
    runs: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    reviewed: list = field(default_factory=list)
    fails: int = 0
    answers: threading.Event = field(default_factory=threading.Event)
    came: threading.Condition = field(default_factory=threading.Condition)
    audiences: bool = True

    def pod_token(self, pod=POD, namespace="default", audience=AUDIENCE):
        """A new token of a pod's service account, bound to it."""
        return self.token(f"system:serviceaccount:{namespace}:default", {POD_UID: [pod]}, audience)

    def token(self, username=READER, extra=None, audience=AUDIENCE):
        token = f"SECRET-TOKEN-{len(self.users)}"
        # Not the same as any before: what was answered for that one is remembered.
        groups = ["system:authenticated", f"test-{len(self.users)}"]
        self.users[token] = (audience, {"username": username, "groups": groups, "extra": extra or {}})
        return token

    def reset(self):
        """Answer, and grant nothing."""
        self.fails, self.audiences = 0, True
        self.answers.set()
        self.rights.clear()

    def note(self, what):
        with self.came:
            self.asked.append(what)
            self.came.notify_all()

    def until_asked(self, times):
        """Wait until so much was asked since `asked` was cleared."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.asked) >= times, 60), self.asked

    def start(self):
        owner = self
        self.answers.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                owner.note(review["kind"])
                owner.answers.wait(60)
                status = owner.status_of(review["kind"], review["spec"])
                body = json.dumps({**review, "status": status}).encode()
                self.send_response(owner.fails or 201)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                namespace, _, name = self.path.partition("/namespaces/")[2].split("/")
                uid = owner.runs.get((namespace, name))
                owner.note(f"GET {name}")
                found = {"kind": "TaskRun", "metadata": {"name": name, "namespace": namespace, "uid": uid}}
                gone = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
                body = json.dumps(found if uid else gone).encode()
                self.send_response(owner.fails or (200 if uid else 404))
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def status_of(self, kind, spec):
        if kind == "TokenReview":
            self.reviewed.append(spec["token"])
            audience, user = self.users.get(spec["token"], (None, None))
            if user is None or (self.audiences and audience not in spec["audiences"]):
                return {"authenticated": False, "error": "no such token"}
            told = {"audiences": [audience]} if self.audiences else {}
            return {"authenticated": True, "user": user, **told}
        wanted = spec["resourceAttributes"]
        right = (
            spec.get("user"),
            wanted["verb"],
            wanted.get("namespace"),
            wanted["group"],
            wanted["resource"],
        )
        return {"allowed": kind == "SelfSubjectAccessReview" or right in self.rights}

    def allow(self, verb, namespace="default", user=READER):
        self.rights.add((user, verb, namespace, "resultsfw.dev", "results"))

    def kubeconfig(self, folder):
        file = folder / "kubeconfig"
        url = f"http://127.0.0.1:{self.server.server_port}"
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "the-servers-own"}}],
        }
        file.write_text(yaml.safe_dump(config))
        return file

    def stop(self):
        self.server.shutdown()
        self.thread.join(60)
        self.server.server_close()


class ServerProcess(Running):
    """A results server as a process, and a client of it."""

    def __init__(self, folder, reviews, *options, tls=True):
        self.scheme = "https" if tls else "http"
        self.folder = folder
        self.ca = trustme.CA()
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self.trust = ssl.create_default_context(cadata=self.ca.cert_pem.bytes().decode())
        self.certify()
        self.options = [
            *(
                "--store",
                f"file://{folder}/store",
                "--listen",
                "127.0.0.1:0",
                "--listen-status",
                "127.0.0.1:0",
            ),
            *(("--tls-cert", str(self.cert), "--tls-key", str(self.key)) if tls else ("--insecure-http",)),
            *("--kubeconfig", str(reviews.kubeconfig(folder)), *options),
        ]
        self.begin()

    def begin(self):
        command = [sys.executable, "-W", "error", "-m", "resultsfw.cli", "results-server", *self.options]
        super().__init__(command, None)
        said = self.wait_for(f"results server on {self.scheme} port", seconds=90)["message"]
        self.port = int(said.rpartition(" ")[2])

    def certify(self, ca=None):
        issued = (ca or self.ca).issue_cert("127.0.0.1")
        self.cert.write_bytes(b"".join(one.bytes() for one in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self.key))

    def connection(self, source=None):
        source = (source, 0) if source else None
        if self.scheme == "http":
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=source)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=60, context=self.trust, source_address=source
        )

    def ask(self, method, target, token=None, body=None, *, headers=None, source=None):
        connection = self.connection(source)
        try:
            sent = {**({"Authorization": f"Bearer {token}"} if token else {}), **(headers or {})}
            connection.request(method, target, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def open(self, source=None):
        """A connection on which nothing was sent, not even the first word of TLS."""
        return socket.create_connection(
            ("127.0.0.1", self.port), 60, source_address=(source, 0) if source else None
        )

    def raw(self, data, source=None):
        """A connection on which that was sent."""
        sock = self.open(source)
        if self.scheme == "https":
            sock = self.trust.wrap_socket(sock, server_hostname="127.0.0.1")
        sock.sendall(data)
        return sock

    def kill(self):
        self.process.kill()
        self.wait()


def answer_on(sock):
    """The answer that comes over a raw connection."""
    answer = http.client.HTTPResponse(sock)
    answer.begin()
    return Answer(answer.status, dict(answer.getheaders()), answer.read())


def head(method, target, token, **headers):
    lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()

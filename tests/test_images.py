"""What the images are built from, as far as it can be known without building them."""

import ast
import json
import re
import ssl
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest
import trustme
from packaging.requirements import Requirement

from resultsfw import images
from resultsfw_backends import config_map, sidecar_logs

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "images"
SIDECAR = ROOT / "sidecar"


def made(root, *options):
    """The interpreter of a sidecar's image, made of the one that runs this."""
    base = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}")
    command = [base, IMAGES / "cut_python.py", *options, root]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    return made(tmp_path_factory.mktemp("cut"))


@pytest.fixture(scope="module")
def cut_for_networks(tmp_path_factory):
    return made(tmp_path_factory.mktemp("net"), "--transports")


def imports(*packages):
    """Every import in the sidecar's sources, in functions and branches too, but those for types only."""
    found = set()
    sources = [file for package in packages for file in (SIDECAR / package).glob("*.py")]
    for source in [
        source_file
        for source_file in sources
        if source_file.stem not in ("encryption", "fetch", "object_store", "store")
    ]:
        left: list[ast.AST] = [ast.parse(source.read_text())]
        while left:
            node = left.pop()
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                left += node.orelse
                continue
            left += ast.iter_child_nodes(node)
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module or "")
    return {
        module for module in found if not module.startswith(("resultsfw_sidecar", "resultsfw_transports"))
    }


DIGEST = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
"""The interpreter's own SHA-256, of which the sidecar tries both names."""


def missing(interpreter, names):
    names = names - ({"_sha2", "_sha256"} - {DIGEST})
    code = "import sys\nfor one in sys.argv[1:]:\n try: __import__(one)\n except ImportError: print(one)"
    command = [interpreter, "-IS", "-c", code, *sorted(names)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slow
def test_the_cut_interpreter_has_all_that_the_sidecar_imports(cut):
    names = imports("resultsfw_sidecar")
    assert missing(cut, names) == ["hashlib"]  # not needed beside the interpreter's own digest
    assert {"ctypes", "json", DIGEST} <= names


@pytest.mark.slow
def test_the_cut_interpreter_for_networks_has_all_that_other_ways_import(cut_for_networks):
    names = imports("resultsfw_sidecar", "resultsfw_transports")
    assert missing(cut_for_networks, names | {"encodings.idna"}) == []  # large values need the fast digest
    assert {"ssl", "http.client", "base64"} <= names


class ApiServer(BaseHTTPRequestHandler):
    """Takes one patch."""

    def do_PATCH(self):
        self.server.asked.append(
            (self.path, self.headers["Authorization"], self.rfile.read(int(self.headers["Content-Length"])))
        )
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format, *args):  # noqa: A002
        pass


@pytest.mark.slow
def test_the_cut_interpreter_for_networks_hands_over_by_tls(cut_for_networks, tmp_path):
    authority = trustme.CA()
    server = HTTPServer(("127.0.0.1", 0), ApiServer)
    server.asked = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.handle_request, daemon=True)
    thread.start()
    zipapp, root, account = tmp_path / "sidecar", tmp_path / "tekton", tmp_path / "account"
    build = [sys.executable, SIDECAR / "build_zipapp.py", "--transports", zipapp]
    subprocess.run([*build, "--interpreter", f"{cut_for_networks} -IS"], check=True)
    for folder in (root / "results", root / "run" / "0", account):
        folder.mkdir(parents=True)
    (root / "run" / "0" / "out").touch()
    (root / "results" / "digest").write_text("d")
    (account / "token").write_text("t")
    (account / "namespace").write_text("ns")
    authority.cert_pem.write_to_path(account / "ca.crt")
    message = tmp_path / "message"
    message.touch()
    environment = {
        "RESULTSFW_WIRE": "1",
        "RESULTSFW_TRANSPORT": "resultsfw_transports.config_map",
        "RESULTSFW_CONFIG_MAP": "theirs",
        "RESULTSFW_CONFIG_MAP_UID": "u",
        "RESULTSFW_SERVICE_ACCOUNT": str(account),
        "RESULTSFW_TEKTON_ROOT": str(root),
        "RESULTSFW_TERMINATION_LOG": str(message),
        "KUBERNETES_SERVICE_HOST": "localhost",
        "KUBERNETES_SERVICE_PORT": str(server.server_address[1]),
    }
    options = ["-results-dir", root / "results", "-result-names", "digest"]
    done = subprocess.run([zipapp, *options], env=environment, capture_output=True, check=False, timeout=90)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), message.read_text()
    thread.join(60)
    server.server_close()
    [(path, token, body)] = server.asked
    assert (path, token) == ("/api/v1/namespaces/ns/configmaps/theirs", "Bearer t")
    assert json.loads(body)["data"] == {"digest": "d"}
    assert message.read_text().startswith("sha256:")


def test_each_image_has_the_ways_that_its_backends_name_and_no_more():
    assert "--transports" not in (IMAGES / "sidecar.Containerfile").read_text()
    text = (IMAGES / "sidecar-net.Containerfile").read_text()
    assert text.count("--transports /out") == 2
    assert config_map.Config().image == images.SIDECAR_NET
    assert sidecar_logs.Config().image == images.SIDECAR


def test_there_is_a_containerfile_for_each_name_of_an_image():
    assert metadata.version("resultsfw") == images.VERSION
    names = {file.name.removesuffix(".Containerfile") for file in IMAGES.glob("*.Containerfile")}
    assert {f"{images.NO_REGISTRY}/{name}:{images.VERSION}" for name in names} == set(images.ALL)
    for name in names:
        text = (IMAGES / f"{name}.Containerfile").read_text()
        assert f"--manifest REGISTRY/{name}:{images.VERSION} ." in text


def test_the_cut_interpreter_runs_the_sidecar_with_events(cut, tmp_path):
    zipapp = tmp_path / "ko-app" / "sidecarlogresults"
    line = f"{cut} -IS"
    subprocess.run([sys.executable, SIDECAR / "build_zipapp.py", zipapp, "--interpreter", line], check=True)
    results = tmp_path / "tekton" / "results"
    for folder in (results, tmp_path / "tekton" / "run" / "0", tmp_path / "tekton" / "steps"):
        folder.mkdir(parents=True)
    (results / "digest").write_bytes("sha256:1\u00e9".encode())
    (tmp_path / "tekton" / "run" / "0" / "out").touch()
    environment = {"RESULTSFW_WIRE": "1", "RESULTSFW_TEKTON_ROOT": str(tmp_path / "tekton")}
    options = ["-results-dir", results, "-result-names", "digest", "-step-results", '{"step-x":["y"]}']
    done = subprocess.run([zipapp, *options], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert '"value":"sha256:1\u00e9"'.encode() in done.stdout
    assert b'"name":"step-x.y","type":"absent"' in done.stdout
    plain = [sys.executable, "-IS", zipapp, *options]
    assert done.stdout == subprocess.run(plain, env=environment, capture_output=True, check=True).stdout


def test_the_cut_interpreter_is_small_and_has_no_more(cut):
    root = cut.parents[len(cut.parts) - cut.parts.index("bin")]
    for name in ("site-packages", "unittest", "pip", "ssl.pyc", "subprocess.pyc", "socket.pyc"):
        assert not list(root.rglob(name))


@pytest.mark.parametrize(
    "name",
    [
        "requirements.txt",
        "build-requirements.txt",
        "object-store-requirements.txt",
        "results-server-requirements.txt",
        "sidecar-signed-requirements.txt",
    ],
)
def test_every_distribution_in_an_image_is_pinned_by_its_hash(name):
    blocks = re.split(r"\n(?=\S)", (IMAGES / name).read_text().strip())[1:]
    assert blocks
    for block in blocks:
        assert re.fullmatch(r"[a-z0-9-]+==\S+(?: \\\n    --hash=sha256:[0-9a-f]{64})+", block), block


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("requirements.txt", ("project", "dependencies")),
        ("requirements.txt", ("project", "optional-dependencies", "cel")),
        ("requirements.txt", ("project", "optional-dependencies", "cluster")),
        ("requirements.txt", ("project", "optional-dependencies", "otel")),
        ("requirements.txt", ("project", "optional-dependencies", "redact")),
        ("requirements.txt", ("project", "optional-dependencies", "object-store")),
        ("requirements.txt", ("project", "optional-dependencies", "signed")),
        ("object-store-requirements.txt", ("project", "optional-dependencies", "object-store")),
        ("sidecar-signed-requirements.txt", ("project", "optional-dependencies", "encryption")),
        ("sidecar-signed-requirements.txt", ("project", "optional-dependencies", "object-store")),
        ("results-server-requirements.txt", ("project", "dependencies")),
        ("results-server-requirements.txt", ("project", "optional-dependencies", "cluster")),
        ("results-server-requirements.txt", ("project", "optional-dependencies", "results-server")),
        (
            "results-server-requirements.txt",
            ("project", "optional-dependencies", "results-server-postgresql"),
        ),
        ("build-requirements.txt", ("build-system", "requires")),
    ],
)
def test_the_pins_are_what_the_project_asks_for(name, path):
    pins = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (IMAGES / name).read_text(), flags=re.MULTILINE))
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for key in path:
        wanted = wanted[key]
    left = [Requirement(requirement) for requirement in wanted if not requirement.startswith("resultsfw[")]
    seen = set()
    while left:
        required = left.pop()
        known = re.sub(r"[-_.]+", "-", required.name).lower()
        if known in seen or (required.marker and not required.marker.evaluate({"extra": ""})):
            continue
        seen.add(known)
        assert pins[known] in required.specifier, f"{required}; run images/pin.py"
        if metadata.version(known) == pins[known]:  # what another version would need says nothing
            left += [Requirement(text) for text in metadata.requires(known) or ()]


@pytest.mark.parametrize(
    ("name", "option", "variables", "missing"),
    [
        (
            "sidecar-object-store",
            "--transports",
            {"RESULTSFW_TRANSPORT": "resultsfw_transports.object_store"},
            "RESULTSFW_STORE_INLINE is not set",
        ),
        (
            "sidecar-signed",
            "--signing",
            {"RESULTSFW_TRANSPORT": "resultsfw_transports.object_store", "RESULTSFW_SIGNING": "{}"},
            "RESULTSFW_SIGNING: KeyError: 'run'",
        ),
    ],
)
def test_the_sidecar_with_libraries_finds_those_of_its_python(tmp_path, name, option, variables, missing):
    """As the image starts it, but for its Python: this one's site packages have the libraries too."""
    text = (IMAGES / f"{name}.Containerfile").read_text()
    (options,) = re.findall(r"build_zipapp.py /out/sidecarlogresults (.*)$", text, flags=re.MULTILINE)
    assert options == f'--interpreter "/usr/bin/python3.11 -I" {option}'
    zipapp = tmp_path / "sidecarlogresults"
    line = f"{sys.executable} -I"
    command = [sys.executable, SIDECAR / "build_zipapp.py", zipapp, "--interpreter", line, option]
    subprocess.run(command, check=True)
    environment = {"RESULTSFW_WIRE": "1", **variables}
    done = subprocess.run([zipapp], env=environment, capture_output=True, text=True, check=False)
    assert missing in done.stdout
    assert done.returncode == 1


def test_the_context_of_a_build_has_what_is_copied_and_little_else():
    """.dockerignore leaves out all but what it names."""
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] not in ("", "#")
    ]
    assert first == "*"
    kept = {line.removeprefix("!") for line in rest if line.startswith("!")}
    for path in kept:
        assert (ROOT / path).exists()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"][
        "wheel"
    ]
    for package in (*packages["packages"], "config", "pyproject.toml", "README.md", "LICENSE"):
        assert package.partition("/")[0] in kept

"""Checks built images: `python images/check.py FILE.oci.tar...`, each named after its image.

Size, labels, user and files are read from the archive; then the program is started inside the image's own
root file system, read-only and as the image's user: by unshare, mount and chroot, and for whoever is not root
in a user namespace that buildah or podman makes.
"""

import gzip
import io
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

MEGABYTE: Final = 1_000_000

USER: Final = "65532:65532"

SHELLS: Final = frozenset({"ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "sh", "tcsh", "zsh"})

LABELS: Final = tuple(
    f"org.opencontainers.image.{name}"
    for name in (
        "title",
        "description",
        "vendor",
        "licenses",
        "documentation",
        "version",
        "revision",
        "created",
    )
)


@dataclass(frozen=True, slots=True)
class Start:
    """One start of an image's program.

    Attributes:
        arguments: Of the image's entrypoint.
        status: The exit status that it must have.
        says: What must be in its output, or in its termination message.
        env: Variables.
    """

    arguments: tuple[str, ...]
    status: int
    says: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Expected:
    """What an image must be.

    Attributes:
        megabytes: Most bytes of its files, in millions.
        starts: How it must start.
    """

    megabytes: float
    starts: tuple[Start, ...]


def _transports(*names: str) -> tuple[Start, ...]:
    """Return a start with each transport: it says what it lacks, so it was imported."""
    return tuple(
        Start(
            (),
            1,
            "is not set",
            {"RESULTSFW_WIRE": "1", "RESULTSFW_TRANSPORT": f"resultsfw_transports.{name}"},
        )
        for name in names
    )


_SELF_CHECK: Final = Start((), 1, "BadEnvironment", {"RESULTSFW_WIRE": "none"})
_NET: Final = ("claim", "config_map", "http", "oci", "run_result", "task_run")
_STORES: Final = ("object_store",)
_NO_CLUSTER: Final = {"KUBECONFIG": "/none"}
_VERSION: Final = Start(("version",), 0, "plugin contract")

EXPECTED: Final[Mapping[str, Expected]] = {
    "sidecar": Expected(13, (_SELF_CHECK,)),
    "sidecar-net": Expected(25, (_SELF_CHECK, *_transports(*_NET))),
    "sidecar-object-store": Expected(95, (_SELF_CHECK, *_transports(*_NET, *_STORES))),
    "sidecar-signed": Expected(
        120,
        (
            _SELF_CHECK,
            *_transports(*_NET, *_STORES),
            Start((), 1, "RESULTSFW_SIGNING", {"RESULTSFW_WIRE": "1", "RESULTSFW_SIGNING": "{}"}),
        ),
    ),
    "controller": Expected(
        160,
        (
            _VERSION,
            Start(("controller", "--help"), 0, "Usage"),
            Start(("backends",), 0, "object-store"),
            Start(("doctor",), 2, "/none: no such file", _NO_CLUSTER),
        ),
    ),
    "results-server": Expected(
        155,
        (
            _VERSION,
            Start(("results-server", "--help"), 0, "Usage"),
            Start(
                (
                    "results-server",
                    "--store",
                    "file:///tmp/store",
                    "--insecure-http",
                    "--listen",
                    "127.0.0.1:0",
                ),
                2,
                "/none: no such file",
                _NO_CLUSTER,
            ),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class Image:
    """An image of an archive.

    Attributes:
        digest: Of its manifest.
        config: Its configuration, as the OCI image specification has it.
        layers: Its layers, uncompressed.
    """

    digest: str
    config: Mapping[str, Any]
    layers: tuple[bytes, ...]

    def members(self) -> dict[str, tarfile.TarInfo]:
        """Return the files of all layers together, by path."""
        found: dict[str, tarfile.TarInfo] = {}
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
                for member in archive:
                    path = os.path.normpath(member.name)
                    folder, name = os.path.split(path)
                    if name.startswith(".wh."):
                        gone = os.path.join(folder, name.removeprefix(".wh."))  # noqa: PTH118 - no file
                        for other in [
                            other for other in found if other == gone or other.startswith(f"{gone}/")
                        ]:
                            del found[other]
                    else:
                        found[path] = member
        return found

    def unpack(self, root: Path) -> None:
        """Write the files of all layers to a folder."""
        for layer in self.layers:
            command = ["tar", "--extract", "--numeric-owner", "--directory", str(root)]
            subprocess.run(command, input=layer, check=True)
        for path in sorted(root.rglob(".wh.*")):
            raise ValueError(f"{path}: an image of ours removes no file of its base")


def read(file: Path) -> Image:
    """Return the image of an archive in the format of OCI."""
    with tarfile.open(file) as archive:

        def blob(digest: str) -> bytes:
            content = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert content is not None  # noqa: S101 - a blob is a file
            return content.read()

        index = archive.extractfile("index.json")
        assert index is not None  # noqa: S101 - likewise
        (entry,) = json.load(index)["manifests"]
        manifest = json.loads(blob(entry["digest"]))
        layers = [blob(layer["digest"]) for layer in manifest["layers"]]
        plain = tuple(gzip.decompress(layer) if layer[:2] == b"\x1f\x8b" else layer for layer in layers)
        return Image(entry["digest"], json.loads(blob(manifest["config"]["digest"])), plain)


def problems(
    members: Mapping[str, tarfile.TarInfo], config: Mapping[str, Any], expected: Expected
) -> Iterator[str]:
    """Yield what is wrong with an image's files and configuration."""
    size = size_of(members)
    if size > expected.megabytes * MEGABYTE:
        yield f"{size / MEGABYTE:.1f} MB, over the limit of {expected.megabytes:g} MB"
    run = config.get("config") or {}
    if run.get("User") != USER:
        yield f"runs as {run.get('User') or 'root'}, not as {USER}"
    labels = run.get("Labels") or {}
    if missing := [name for name in LABELS if not labels.get(name)]:
        yield f"has no label {', '.join(missing)}"
    for path, member in sorted(members.items()):
        if member.issym() or member.islnk():
            continue
        if os.path.basename(path) in SHELLS and member.mode & 0o111 and member.isfile():  # noqa: PTH119 - no file
            yield f"/{path}: a shell"
        if member.mode & (stat.S_ISUID | stat.S_ISGID) and member.isfile():
            yield f"/{path}: setuid or setgid"
        if member.mode & stat.S_IWOTH and not (member.isdir() and member.mode & stat.S_ISVTX):
            yield f"/{path}: everyone may write it"
        if member.isdev():
            yield f"/{path}: a device"


def size_of(members: Mapping[str, tarfile.TarInfo]) -> int:
    """Return the bytes of an image's files."""
    return sum(member.size for member in members.values())


_SCRIPT: Final = """
set -e
mount --bind "$ROOT" "$ROOT"
mount -o remount,ro,bind "$ROOT"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/tmp"
mount -t tmpfs tmpfs "$ROOT/dev"
: >"$ROOT/dev/null"
mount --bind /dev/null "$ROOT/dev/null"
: >"$ROOT/tmp/message"
chmod 0666 "$ROOT/tmp/message"
set +e
env -i $VARIABLES "$(command -v chroot)" --userspec=65532:65532 "$ROOT" "$@" </dev/null 2>&1
status=$?
cat "$ROOT/tmp/message"
exit $status
"""


def _as_root() -> list[str]:
    """Return the command that gives another one the rights of root, over its own namespaces only."""
    if os.geteuid() == 0:
        return []
    programs = [program for program in ("buildah", "podman") if shutil.which(program)]
    if not programs:
        raise SystemExit("starting images needs root, or buildah or podman")
    return [programs[0], "unshare"]


def start(root: Path, config: Mapping[str, Any], wanted: Start) -> str:
    """Start an image's program in its root file system; returns what is wrong, or nothing."""
    run = config["config"]
    env = dict(variable.split("=", 1) for variable in run.get("Env") or ())
    env |= {"RESULTSFW_TERMINATION_LOG": "/tmp/message", **wanted.env}  # noqa: S108 - a tmpfs in its own root
    namespace = [*_as_root(), "unshare", "--mount", "--pid", "--fork"]
    done = subprocess.run(
        [*namespace, "sh", "-c", _SCRIPT, "sh", *run["Entrypoint"], *wanted.arguments],
        env={
            **os.environ,
            "ROOT": str(root),
            "VARIABLES": " ".join(f"{name}={value}" for name, value in env.items()),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    output = done.stdout + done.stderr
    if done.returncode == wanted.status and wanted.says in output:
        return ""
    command = " ".join([*run["Entrypoint"], *wanted.arguments, *(f"{k}={v}" for k, v in wanted.env.items())])
    return (
        f"{command}: exit status {done.returncode} and {output[-400:]!r}, expected {wanted.status} and "
        f'"{wanted.says}"'
    )


def check(file: Path) -> list[str]:
    """Return what is wrong with the image of an archive."""
    name = file.name.partition(".")[0]
    expected, image = EXPECTED[name], read(file)
    found = list(problems(image.members(), image.config, expected))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        root.mkdir(mode=0o755)
        Path(folder).chmod(0o755)
        image.unpack(root)
        for mount in ("dev", "proc", "tmp"):
            (root / mount).mkdir(exist_ok=True)
        found += filter(None, (start(root, image.config, wanted) for wanted in expected.starts))
    return found


def main(arguments: Sequence[str]) -> int:
    """Check the archives that the command line names; return 1 if one is not as it must be."""
    status = 0
    for file in map(Path, arguments):
        found = check(file)
        image = read(file)
        size = size_of(image.members()) / MEGABYTE
        print(f"{file.name}: {size:.1f} MB, {image.digest}: {'; '.join(found) or 'ok'}")  # noqa: T201
        status |= bool(found)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

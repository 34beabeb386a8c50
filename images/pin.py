"""Writes what the images are made of, file by file: `python images/pin.py`, with pip 25 or later.

images/requirements.txt names every distribution in the controller's image with its version and the hashes of
its wheels for the image's Python on both architectures; images/build-requirements.txt does so for what builds
our own wheel, images/object-store-requirements.txt for what the sidecar of that backend has,
images/sidecar-signed-requirements.txt for what the sidecar that signs has besides, and
images/results-server-requirements.txt for the results server.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "3.11"
PLATFORMS = ("x86_64", "aarch64")
EXTRAS = ("cel", "cluster", "encryption", "object-store", "otel", "redact", "signed")
"""Of which the controller's image has the dependencies."""

SIGNERS = ("cryptography", "spiffe")
"""What of the extra `signed` a pod needs."""


def pinned(wanted: Sequence[str]) -> str:
    """The lines that pip takes with ``--require-hashes``."""
    found: dict[str, set[str]] = {}
    for platform in PLATFORMS:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-"]
        command += ["--ignore-installed", "--only-binary", ":all:", "--python-version", PYTHON]
        for libc in ("manylinux_2_28", "manylinux_2_24", "manylinux_2_17", "manylinux2014"):
            command += ["--platform", f"{libc}_{platform}"]
        done = subprocess.run([*command, "--target", "unused", *wanted], stdout=subprocess.PIPE, check=True)
        for one in json.loads(done.stdout)["install"]:
            name = f"{one['metadata']['name'].lower().replace('_', '-')}=={one['metadata']['version']}"
            found.setdefault(name, set()).add(one["download_info"]["archive_info"]["hashes"]["sha256"])
    hashes = {name: "".join(f" \\\n    --hash=sha256:{one}" for one in sorted(found[name])) for name in found}
    return "# Made by images/pin.py.\n" + "".join(f"{name}{hashes[name]}\n" for name in sorted(hashes))


def main() -> None:
    """Write the files."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *(one for name in EXTRAS for one in extras[name])]
    (HERE / "requirements.txt").write_text(pinned(wanted))
    (HERE / "object-store-requirements.txt").write_text(
        pinned([*extras["object-store"], *extras["encryption"]])
    )
    # The rest of that extra is for the controller.
    spiffe = [requirement for requirement in extras["signed"] if requirement.startswith(SIGNERS)]
    (HERE / "sidecar-signed-requirements.txt").write_text(
        pinned([*extras["object-store"], *extras["encryption"], *spiffe])
    )
    # What it takes of ours is named here already.
    base = [*project["project"]["dependencies"], *extras["cluster"]]
    server = [*extras["results-server"], *extras["results-server-postgresql"]]
    server = [requirement for requirement in server if not requirement.startswith("resultsfw[")]
    (HERE / "results-server-requirements.txt").write_text(pinned([*base, *server]))
    (HERE / "build-requirements.txt").write_text(pinned(project["build-system"]["requires"]))


if __name__ == "__main__":
    main()

"""Pins the images that ours are built on, and Tekton's, by digest: `python images/bases.py --update`.

images/bases.json has each with its digest; an empty one is not known yet. `--check` fails if one is empty, as
a release must; `--update` asks the registries, by skopeo, and needs the network.
"""

import argparse
import hashlib
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("bases.json")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

Bases = dict[str, dict[str, str]]


def load(file: Path = FILE) -> Bases:
    """Return the images by what they are for.

    Raises:
        ValueError: A digest is none.
    """
    bases: Bases = json.loads(file.read_text())
    for purpose, base in bases.items():
        if base["digest"] and not DIGEST.fullmatch(base["digest"]):
            raise ValueError(f"{file}: {purpose}: {base['digest']!r} is not a digest")
    return bases


def reference(base: Mapping[str, str]) -> str:
    """Return the name to build with: by digest, if that is known."""
    name, _, tag = base["image"].rpartition(":")
    return f"{name}@{base['digest']}" if base["digest"] else f"{name}:{tag}"


def unpinned(bases: Bases) -> list[str]:
    """Return the images whose digest is not known."""
    return [base["image"] for base in bases.values() if not base["digest"]]


def resolve(image: str) -> str:
    """Return the digest of an image in its registry: of the list of all platforms, if there is one."""
    command = ["skopeo", "inspect", "--raw", f"docker://{image}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return f"sha256:{hashlib.sha256(done.stdout).hexdigest()}"


def install_options(bases: Bases) -> list[str]:
    """Return the options of ``resultsfw install`` for Tekton's images by digest."""
    return [f"--{purpose}={reference(base)}" for purpose, base in bases.items() if purpose.endswith("-image")]


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Pins base images, and Tekton's, by digest.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--update", action="store_true", help="ask the registries for the digests")
    action.add_argument("--check", action="store_true", help="fail if a digest is not known")
    action.add_argument(
        "--install-options", action="store_true", help="print options of resultsfw install with the digests"
    )
    options = parser.parse_args()
    bases = load()
    if options.update:
        for base in bases.values():
            base["digest"] = resolve(base["image"])
        FILE.write_text(json.dumps(bases, indent=2) + "\n")
    elif options.install_options:
        print(*install_options(bases))  # noqa: T201
    elif names := unpinned(bases):
        raise SystemExit(f"no digest is known for {', '.join(names)}: run images/bases.py --update")


if __name__ == "__main__":
    main()

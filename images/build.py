"""Builds, describes and checks the images: `python images/build.py --into dist/images [NAME...]`.

For each image there are NAME.oci.tar and NAME.cdx.json afterwards, and a line with size and digest. The same
commit and the same base images give the same digest, in any folder and on any machine of the platform.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import bases
import check
import sbom

ROOT: Final = Path(__file__).resolve().parents[1]
_SOURCE: Final = "org.opencontainers.image"


def tool() -> str:
    """Return the program that builds: buildah or podman, whichever is there."""
    for name in ("buildah", "podman"):
        if found := shutil.which(name):
            return found
    raise SystemExit("neither buildah nor podman is installed")


def _git(*arguments: str) -> str:
    # "format-local" of a date is that of the time zone.
    env = {**os.environ, "TZ": "UTC"}
    done = subprocess.run(
        ["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True, env=env
    )
    return done.stdout.strip()


def build(name: str, target: Path, *, arguments: dict[str, str], options: list[str]) -> None:
    """Build one image into an archive.

    Args:
        name: Of the image.
        target: The archive.
        arguments: The base images.
        options: Further options of the tool.
    """
    program = tool()
    seconds = os.environ.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct")
    created = commit_time()
    tag = f"localhost/resultsfw/{name}:{os.getpid()}"
    labels = {
        "created": created,
        "revision": _git("rev-parse", "HEAD"),
        "version": version(),
    }
    command = [program, "build" if program.endswith("podman") else "bud", "--quiet", "--format", "oci"]
    command += ["--timestamp", seconds, "--file", f"images/{name}.Containerfile", "--tag", tag, *options]
    for key, value in arguments.items():
        command += ["--build-arg", f"{key}={value}"]
    for key, value in labels.items():
        command += ["--label", f"{_SOURCE}.{key}={value}"]
    subprocess.run([*command, "."], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    target.unlink(missing_ok=True)
    push = [program, "push", "--quiet", "--format", "oci", tag, f"oci-archive:{target}"]
    subprocess.run(push, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([program, "rmi", tag], check=True, stdout=subprocess.DEVNULL)


def commit_time() -> str:
    """Return the time of the commit in RFC 3339, in UTC whatever the machine's time zone is."""
    return _git("log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%dT%H:%M:%SZ")


def version() -> str:
    """Return the project's version."""
    lines = (ROOT / "resultsfw" / "images.py").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VERSION: Final = ")]
    return line.partition(" = ")[2].strip('"')


def describe(archive: Path, target: Path) -> None:
    """Write the list of what is in an image."""
    name = archive.name.partition(".")[0]
    with tempfile.TemporaryDirectory() as folder:
        check.read(archive).unpack(Path(folder))
        document = sbom.sbom(Path(folder), name, version())
    target.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")


def main() -> int:
    """Build the images that the command line names; return 1 if one is not as it must be."""
    parser = argparse.ArgumentParser(description="Builds, describes and checks the images.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(check.EXPECTED)}; default: all"
    )
    parser.add_argument("--into", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--base", action="append", default=[], metavar="ARG=IMAGE", help="instead of bases.json"
    )
    parser.add_argument("--release", action="store_true", help="refuse base images without a digest")
    parser.add_argument("--no-check", action="store_true", help="do not check the images")
    options, further = parser.parse_known_args()
    if unknown := sorted(set(options.names) - check.EXPECTED.keys()):
        parser.error(f"no image is named {', '.join(unknown)}")
    pinned = bases.load()
    if options.release and (missing := bases.unpinned(pinned)):
        parser.error(f"no digest is known for {', '.join(missing)}: run images/bases.py --update")
    arguments = {key: bases.reference(base) for key, base in pinned.items() if key.isupper()}
    arguments |= dict(given.split("=", 1) for given in options.base)
    folder = options.into.resolve()
    if ":" in str(folder):
        parser.error(f'{folder} contains ":", which separates an archive from its tag')
    folder.mkdir(parents=True, exist_ok=True)
    archives = []
    for name in options.names or check.EXPECTED:
        archives.append(folder / f"{name}.oci.tar")
        build(name, archives[-1], arguments=arguments, options=further)
        describe(archives[-1], folder / f"{name}.cdx.json")
    return 0 if options.no_check else check.main([str(archive) for archive in archives])


if __name__ == "__main__":
    sys.exit(main())

"""Lists what is in an image as CycloneDX JSON: `python images/sbom.py ROOT NAME VERSION`.

ROOT is the image's root file system. Components are the Python distributions whose metadata is in it, the
Debian packages of its base, and the interpreter. The same image has the same list: no time, no random number.
"""

import email.parser
import json
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

Component = dict[str, Any]

_MOST: Final = 1 << 20
"""Bytes of a file of metadata that are read."""


def sbom(root: Path, name: str, version: str) -> dict[str, Any]:
    """Return the CycloneDX document of an image."""
    components = sorted(
        [*_distributions(root), *_debian_packages(root), *_interpreter(root)],
        key=lambda found: found["bom-ref"],
    )
    image = {"type": "container", "bom-ref": f"image:{name}", "name": f"resultsfw/{name}", "version": version}
    content = json.dumps([image, components], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {"component": image},
        "components": components,
        "dependencies": [{"ref": image["bom-ref"], "dependsOn": [found["bom-ref"] for found in components]}],
    }


def _component(purl: str, name: str, version: str, licence: str = "") -> Component:
    found: Component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return {**found, "licenses": [{"license": {"name": licence}}]} if licence else found


def _distributions(root: Path) -> Iterator[Component]:
    """Yield the Python distributions, by what pip installed of their metadata."""
    for path in sorted(root.rglob("*.dist-info/METADATA")):
        fields = email.parser.HeaderParser().parsestr(path.read_text(errors="replace")[:_MOST])
        name = re.sub(r"[-_.]+", "-", str(fields["Name"])).lower()
        version = str(fields["Version"])
        licence = str(fields["License-Expression"] or fields["License"] or "").split("\n", 1)[0][:100]
        yield _component(f"pkg:pypi/{name}@{version}", name, version, licence)


def _debian_packages(root: Path) -> Iterator[Component]:
    """Yield the Debian packages: a distroless image has a file for each."""
    folder, whole = root / "var/lib/dpkg/status.d", root / "var/lib/dpkg/status"
    files = [path for path in sorted(folder.glob("*")) if not path.name.endswith(".md5sums")]
    for path in [*files, *([whole] if whole.is_file() else [])]:
        for paragraph in path.read_text(errors="replace").split("\n\n"):
            fields = email.parser.HeaderParser().parsestr(paragraph)
            if fields["Package"] and fields["Version"]:
                name, version = str(fields["Package"]), str(fields["Version"])
                purl = f"pkg:deb/debian/{name}@{quote(version)}?arch={fields['Architecture']}"
                yield _component(purl, name, version)


def _interpreter(root: Path) -> Iterator[Component]:
    """Yield the interpreter where it is of no Debian package, by the file that `cut_python.py` writes."""
    for path in sorted((root / "usr/local/lib").glob("python3.*/VERSION")):
        version = path.read_text().strip()
        yield _component(f"pkg:generic/python@{version}", "python", version, "PSF-2.0")


def main() -> None:
    """Print the list of the folder that the command line names."""
    if len(sys.argv) != 4:  # noqa: PLR2004 - three arguments
        raise SystemExit(__doc__)
    root, name, version = sys.argv[1:]
    print(json.dumps(sbom(Path(root), name, version), indent=2, sort_keys=True))  # noqa: T201


if __name__ == "__main__":
    main()

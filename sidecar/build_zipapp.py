"""Builds the sidecar as one executable file: `python sidecar/build_zipapp.py dist/resultsfw-sidecar.pyz`.

The same sources and the same Python give the same bytes, on any machine and in any folder. Each module is
there as source and compiled: a container with this Python does not compile it at every start (10 ms), any
other Python takes the source.
"""

import argparse
import io
import py_compile
import tempfile
import zipapp
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent / "resultsfw_sidecar"
TRANSPORTS = Path(__file__).parent / "resultsfw_transports"
SIGNING = Path(__file__).parent / "resultsfw_signing"
INTERPRETER = "/usr/bin/env -S python3 -IS"
"""-I: no variable and no folder of the user's changes what runs; -S: nor does a site package; 5 ms less."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip file can have


def build(
    target: Path, interpreter: str = INTERPRETER, *, transports: bool = False, signing: bool = False
) -> None:
    """Writes the zipapp.

    Args:
        target: The file to write.
        interpreter: The interpreter in the first line; for a container with one Python, its absolute path.
        transports: Include the other transports, for an image that has the modules they import.
        signing: Include them and the signer, likewise.
    """
    packages = [PACKAGE]
    if transports or signing:
        packages.append(TRANSPORTS)
    if signing:
        packages.append(SIGNING)
    plain = io.BytesIO()
    # zipapp alone would keep the files' times and take them in the folder's order.
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as archive:
        for source in [file for package in packages for file in sorted(package.glob("*.py"))]:
            name = f"{source.parent.name}/{source.name}"
            _add(archive, name, source)
            if source.name == "__main__.py":
                _add(archive, source.name, source)
    plain.seek(0)
    target.parent.mkdir(parents=True, exist_ok=True)
    zipapp.create_archive(plain, target, interpreter)
    target.chmod(0o755)


def _add(archive: zipfile.ZipFile, name: str, source: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "compiled"
        # Checked by nothing: what is in the archive belongs together.
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(compiled), dfile=name, doraise=True, invalidation_mode=mode)
        for path, content in ((f"{name}c", compiled), (name, source)):
            entry = zipfile.ZipInfo(path, _EPOCH)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content.read_bytes())


def main() -> None:
    """Builds the file that the command line names."""
    parser = argparse.ArgumentParser(description="Builds the results sidecar as one executable file.")
    parser.add_argument("target", type=Path)
    parser.add_argument("--interpreter", default=INTERPRETER, help="default: %(default)s")
    parser.add_argument("--transports", action="store_true", help="include the transports other than the log")
    parser.add_argument("--signing", action="store_true", help="include the signer and these transports")
    options = parser.parse_args()
    build(options.target, options.interpreter, transports=options.transports, signing=options.signing)


if __name__ == "__main__":
    main()

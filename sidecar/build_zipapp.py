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
WAYS = Path(__file__).parent / "resultsfw_ways"
INTERPRETER = "/usr/bin/env -S python3 -IS"
"""-I: no variable and no folder of the user's changes what runs; -S: nor does a site package; 5 ms less."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment a zip file knows


def build(target: Path, interpreter: str = INTERPRETER, *, ways: bool = False) -> None:
    """Writes the zipapp.

    Args:
        target: The file to write.
        interpreter: What the first line says, for a container with only one Python its absolute path.
        ways: Put in the other ways out, too, for an image that has what they import.
    """
    packages = (PACKAGE, WAYS) if ways else (PACKAGE,)
    plain = io.BytesIO()
    # zipapp alone would keep the files' times and take them in the folder's order.
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as archive:
        for source in [one for package in packages for one in sorted(package.glob("*.py"))]:
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
    """Builds it from a command line."""
    parser = argparse.ArgumentParser(description="Builds the results sidecar as one executable file.")
    parser.add_argument("target", type=Path)
    parser.add_argument("--interpreter", default=INTERPRETER, help="default: %(default)s")
    parser.add_argument("--ways", action="store_true", help="put in the other ways out than the log, too")
    options = parser.parse_args()
    build(options.target, options.interpreter, ways=options.ways)


if __name__ == "__main__":
    main()

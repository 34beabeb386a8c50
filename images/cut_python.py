"""Copies this Python to a folder with only what the sidecar imports: `python images/cut_python.py OUT`.

With `--transports` before OUT, also what the transports other than the log import. The folder can be the root
of a container: the interpreter, the libraries it is linked with, and the modules, compiled, each under the
path it has here.
"""

import os
import platform
import py_compile
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import partial
from pathlib import Path

SIDECAR = Path(__file__).parents[1] / "sidecar"

LATER = ("binascii", "ctypes", "json", "errno", "select", "signal", "warnings", "zlib")
"""What the sidecar imports when it needs it; not hashlib, which it takes where there is no other digest."""

NET = ("encodings.idna",)
"""What the standard library imports when a server is called by a name."""

WITH_A_LIBRARY = ("encryption", "fetch", "object_store", "store")
"""Transports that import third-party modules: their image has a complete Python."""

INTERPRETERS = ("runpy", "encodings.ascii", "encodings.latin_1", "encodings.utf_8")
"""What the interpreter itself imports, to run a file and to read and write text."""

ASK = """
import sys
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    __import__(name)
# A module that puts another in its place, as collections.abc does in Python 3.13, has a file of its own.
for name, module in sys.modules.items():
    folder = getattr(sys.modules.get(name.rpartition(".")[0]), "__path__", None)
    if folder and module.__spec__.name != name and (found := sys.meta_path[-1].find_spec(name, folder)):
        print(found.origin)
print(*(path.__file__ for path in sys.modules.values() if getattr(path, "__file__", None)), sep="\\n")
"""


def imported(*, transports: bool) -> list[Path]:
    """The files of all modules that the sidecar, and the interpreter for it, can import."""
    packages = ("resultsfw_sidecar", "resultsfw_transports") if transports else ("resultsfw_sidecar",)
    sources = [path for name in packages for path in sorted((SIDECAR / name).glob("*.py"))]
    own = [f"{path.parent.name}.{path.stem}" for path in sources if path.stem not in WITH_A_LIBRARY]
    own += NET if transports else ()
    # As the sidecar runs, and nothing of this program's with it.
    command = [sys.executable, "-ISB", "-c", ASK, str(SIDECAR), *own, *LATER, *INTERPRETERS]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [path for path in map(Path, output.splitlines()) if not path.is_relative_to(SIDECAR)]


def libraries(binary: Path) -> list[Path]:
    """The shared libraries of a binary, the dynamic loader among them."""
    output = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False).stdout
    return [Path(os.path.normpath(path)) for path in re.findall(r"(/\S+) \(0x", output)]


def copy(file: Path, root: Path) -> None:
    """Put a file, or what a link leads to, under the same path below the root."""
    target = root / file.relative_to("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(file.resolve(), target)


def note_packages(files: set[Path], root: Path) -> None:
    """Write what dpkg knows of the files' packages to where images without dpkg have it, for scanners."""
    if shutil.which("dpkg-query") is None:
        return
    # A package lists the path with or without /usr, wherever /lib leads.
    plain = {str(file).removeprefix("/usr") for file in files}
    paths = sorted({*plain, *(f"/usr{path}" for path in plain)})
    query = partial(subprocess.run, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    owners = query(["dpkg-query", "--search", *paths]).stdout.splitlines()
    # Of Debian 13 on, the dynamic loader is also listed as diverted, which is no package.
    owners = [line for line in owners if not line.startswith("diversion by ")]
    packages = sorted({name for line in owners for name in line.partition(": ")[0].split(", ")})
    folder = root / "var/lib/dpkg/status.d"
    folder.mkdir(parents=True, exist_ok=True)
    for status in (
        query(["dpkg-query", "--status", *packages]).stdout.strip().split("\n\n") if packages else ()
    ):
        name = status.partition("\n")[0].removeprefix("Package: ")
        (folder / name).write_text(f"{status}\n")


def cut(root: Path, *, transports: bool = False) -> Path:
    """Fill the folder; returns the interpreter in it."""
    python = Path(sys.executable).resolve()
    for file in imported(transports=transports):
        if file.suffix == ".py":
            # Beside where its source would be, not in __pycache__: only so it stands for the source.
            target = root / file.relative_to("/").with_suffix(".pyc")
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(file), str(target), doraise=True, invalidation_mode=mode)
        else:
            copy(file, root)
    # How the interpreter knows where its library is; the module itself is frozen into it.
    landmark = Path(sysconfig.get_path("stdlib")) / "os.py"
    if not (root / landmark.relative_to("/").with_suffix(".pyc")).exists():
        raise SystemExit(f"{landmark} is not among the modules")
    Path(root, sysconfig.get_path("platstdlib")[1:], "lib-dynload").mkdir(parents=True, exist_ok=True)
    # For the list of what is in the image: the interpreter is of no package.
    (root / landmark.relative_to("/")).with_name("VERSION").write_text(f"{platform.python_version()}\n")
    copy(python, root)
    linked = {library for binary in (python, *root.rglob("*.so")) for library in libraries(binary)}
    for library in linked:
        copy(library, root)
    note_packages(linked, root)
    return root / python.relative_to("/")


def main() -> None:
    """Fill the folder that the command line names."""
    if sys.prefix != sys.base_prefix:
        raise SystemExit("run it with the Python itself, not with a virtual environment's")
    given = sys.argv[1:]
    transports = given[:1] == ["--transports"]
    if len(given) != 1 + transports:
        raise SystemExit(__doc__)
    print(cut(Path(given[-1]).resolve(), transports=transports))  # noqa: T201 - for the path who builds


if __name__ == "__main__":
    main()

"""Prepares a folder of installed packages for an image: `python images/trim.py FOLDER --at PATH`.

Removes what an image never uses, and what differs from build to build; compiles the rest. The same packages
and the same Python give the same bytes, on any machine: run it with PYTHONHASHSEED=0.
"""

import argparse
import compileall
import py_compile
import shutil
from pathlib import Path

UNUSED = (
    "bin",  # scripts; there is no shell, and each program is a module
    "kubernetes/aio",  # the client's copy for asyncio
    "kubernetes/client/api/[!_]*.py",  # resultsfw has paths and objects of its own: it uses the client's
    "kubernetes/client/models/[!_]*.py",  # configuration and credentials, and none of its 1500 models
    "kubernetes/**/*_test.py",
)
"""Each of these exists in a folder that has its package: otherwise the package has changed."""

UNUSED_WITH = {
    "kubernetes": (  # for its copy for asyncio
        "aiohappyeyeballs",
        "aiohttp",
        "aiohttp_retry",
        "aiosignal",
        "attr",
        "attrs",
        "frozenlist",
        "multidict",
        "propcache",
        "yarl",
    ),
    "rich": ("markdown_it", "markdown_it_py", "mdurl", "pygments"),  # for Markdown and source code in colours
}
"""Packages that a package needs for what is not used of it, and nothing else in an image needs."""

SOURCES = ("*.pyi", "*.pyx", "*.pxd", "*.c", "*.h")
"""Read by compilers and type checkers only."""

RECORDS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""What pip notes for itself: where files came from, and hashes of files that are not there any more."""


def trim(folder: Path) -> list[str]:
    """Remove what is not used; returns the patterns, and packages, that should be there and are not."""
    stale = []
    for pattern in UNUSED:
        package = folder / pattern.partition("/")[0]
        matching = sorted(folder.glob(pattern))
        if not matching and package.exists():
            stale.append(pattern)
        for path in matching:
            _remove(path)
    for needing, others in UNUSED_WITH.items():
        for name in others if (folder / needing).exists() else ():
            found = [path for path in (folder / name, *folder.glob(f"{name}-*.dist-info")) if path.exists()]
            stale += [] if found else [name]
            for path in found:
                _remove(path)
    unread = [path for pattern in SOURCES for path in folder.rglob(pattern)]
    records = [path for name in RECORDS for path in folder.glob(f"*.dist-info/{name}")]
    for path in (*unread, *records):
        path.unlink()
    return stale


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def compile_all(folder: Path, at: str) -> None:
    """Compile all modules, in one process and in order; no time of a file is checked or written."""
    for cache in sorted(folder.rglob("__pycache__")):
        shutil.rmtree(cache)
    # Templates with placeholders do not compile, and are not imported.
    compileall.compile_dir(
        str(folder),
        maxlevels=99,
        quiet=2,
        stripdir=str(folder),
        prependdir=at,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def main() -> None:
    """Prepare the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Prepares a folder of installed packages for an image.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--at", required=True, metavar="PATH", help="path of the folder in the image")
    options = parser.parse_args()
    folder = options.folder.resolve()
    if stale := trim(folder):
        raise SystemExit(
            f"{folder} has none of {', '.join(stale)}: a package has changed; see images/trim.py"
        )
    compile_all(folder, options.at)


if __name__ == "__main__":
    main()

"""How the command line starts: by which names, and what it imports before it knows what is asked."""

import ast
import subprocess
import sys
from pathlib import Path

import resultsfw

HEAVY = {"jinja2", "kubernetes", "pluggy", "prometheus_client", "pydantic", "rich", "stevedore", "yaml"}


def imported_by(*arguments):
    """The modules that a command line has imported when it ends."""
    program = (
        "import sys; from resultsfw.cli import main; main(sys.argv[1:]); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "Usage: resultsfw" in done.stdout
    return set(done.stderr.split())


def test_help_imports_no_library_but_click():
    assert not imported_by("--help") & HEAVY
    assert not imported_by("explain", "--help") & HEAVY


def test_python_m_resultsfw_is_the_command_line():
    command = [sys.executable, "-m", "resultsfw", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("resultsfw ")


def test_every_public_name_comes_from_where_type_checkers_look():
    """Two lists: the imports that only type checkers execute, and the modules of the lazy imports."""
    tree = ast.parse(Path(resultsfw.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    expected = {
        alias.asname or alias.name: (node.module, alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    there = {
        name: (module, resultsfw._NAMES_THERE.get(name, name)) for name, module in resultsfw._HOME.items()
    }
    assert there == expected
    assert sorted(expected) == sorted(resultsfw.__all__)
    assert set(resultsfw.__all__) <= set(dir(resultsfw))
    for name in resultsfw.__all__:
        getattr(resultsfw, name)

"""Distributions made on the fly, as pip leaves them: good ones, and one for each way to be broken."""

import os
import subprocess
import sys
import textwrap

GOOD = """
from resultsfw import Capabilities, Extraction, ExtractedResult, hookimpl

capabilities = Capabilities(summary="a good one")

@hookimpl
def prepare_pod(run, pod):
    return 3

@hookimpl
def pod_ready(pod):
    return True

@hookimpl
def extract(run):
    return Extraction(results=(ExtractedResult(name="a", value="1", source="here"),))
"""

BROKEN = {
    "syntax": ("def (:", "SyntaxError"),
    "import": ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    "assertion": ("assert 1 == 2, 'no good'", "AssertionError: no good"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "misspelt": (GOOD.replace("def extract", "def extrakt"), 'hook "extrakt"; did you mean "extract"?'),
    "argument": (
        GOOD.replace("def extract(run)", "def extract(run, limmits)"),
        'hook "extract" has no argument "limmits"; did you mean "limits"?',
    ),
    "lacking": (GOOD.replace("@hookimpl\ndef extract", "def extract_"), "implements no extract"),
    "unmarked": (
        GOOD.replace("@hookimpl\ndef extract", "def extract"),
        "implements no extract (mark extract with resultsfw.hookimpl)",
    ),
    "bare": ("x = 1", "`capabilities`"),
    "version": (
        GOOD.replace('"a good one"', '"x", api_version=2'),
        "API version 2, and this resultsfw loads version 1",
    ),
    "versions": (GOOD.replace('"a good one"', '"x", api_version="1"'), "API version '1', and"),
    "outside": (GOOD.replace('"a good one"', '"x", external_state="owne"'), 'must be "no" or "owned"'),
    "lazy": ("def __getattr__(name):\n    raise RuntimeError(name)\n", "RuntimeError: capabilities"),
    "base": ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
    "reference": (GOOD.replace('"a good one"', '"x", delivery="reference"'), "implements no dereference"),
    "config": (
        GOOD + "\nfrom pydantic import BaseModel\nclass Config(BaseModel):\n    a: int = 1\n",
        "forbid",
    ),
    "required": (
        GOOD
        + "\nfrom pydantic import BaseModel, ConfigDict\nclass Config(BaseModel):\n"
        + "    model_config = ConfigDict(extra='forbid')\n    a: int\n    b: int\n    c: int = 1\n",
        "without a default: a, b",
    ),
    "dict": (GOOD + "\nConfig = {}\n", "not a pydantic model"),
}


class Site:
    """A folder on ``sys.path`` with distributions as pip leaves them."""

    def __init__(self, path):
        self.path = path

    def install(self, name, version, entry_points, modules):
        info = self.path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        for module, text in modules.items():
            (self.path / f"{module}.py").write_text(textwrap.dedent(text))

    def backend(self, name, text, *, target=None, dist=None, version="1.2"):
        """Install a backend of one module."""
        module = f"plugin_{(dist or name).replace('-', '_')}"
        points = f"[resultsfw.backends]\n{name} = {target or module}\n"
        self.install(dist or f"dist-{name}", version, points, {module: text})

    def extension(self, name, text, *, target=None):
        """Install an extension of one module."""
        points = f"[resultsfw.extensions]\n{name} = {target or f'ext_{name}'}\n"
        self.install(f"dist-ext-{name}", "0.3", points, {f"ext_{name}": text})

    @property
    def env(self):
        """Variables of a process that has this folder on its path."""
        path = os.pathsep.join(filter(None, [str(self.path), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "PYTHONPATH": path, "XDG_CACHE_HOME": str(self.path / "cache")}

    def run(self, code, *, check=True):
        """Run code in an interpreter that has this folder on its path; what it printed."""
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
            capture_output=True,
            text=True,
            cwd=self.path,
            env=self.env,
            check=False,
        )
        if check:
            assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def refusal(self, name):
        """The words with which loading a backend is refused."""
        return self.run(f"""
            from resultsfw.errors import BrokenBackendError
            from resultsfw.plugins import load_backend
            try:
                load_backend({name!r})
            except BrokenBackendError as error:
                assert error.subject == {name!r}
                print(error.message)
        """)

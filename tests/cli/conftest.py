"""The command line in this process and as a process of its own, and captures as files."""

import base64
import io
import json
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import captures
import pytest

from resultsfw.cli import main

SIDECAR = "sidecar-tekton-log-results"
DEADLINE = 120  # seconds after which a process is taken to hang, on a busy machine, too


@dataclass
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def items(self):
        """The objects of a List."""
        found = self.json
        assert (found["apiVersion"], found["kind"]) == ("v1", "List")
        return found["items"]


@pytest.fixture
def cli(capsys, monkeypatch):
    """Runs a command in this process."""

    def run(*words, stdin=""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        status = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Ran(status, out, err)

    return run


@pytest.fixture
def program():
    """Runs a command as a process of its own."""

    def run(*words, stdin="", env=None, check_utf8=True):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "resultsfw.cli", *map(str, words)],
            input=stdin.encode(),
            capture_output=True,
            timeout=DEADLINE,
            check=False,
            env=env,
        )
        errors = "strict" if check_utf8 else "replace"
        return Ran(done.returncode, done.stdout.decode(errors=errors), done.stderr.decode(errors=errors))

    return run


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file into the current folder, which is a temporary one, and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        if isinstance(text, bytes):
            (tmp_path / name).write_bytes(text)
        else:
            (tmp_path / name).write_text(textwrap.dedent(text))
        return name

    return write


@pytest.fixture
def saved(write):
    """Saves a capture's objects as files and gives the options that name them."""

    def save(name, *, log=True, change=None, pod=-1):
        capture = captures.load(name)
        taskrun, events = captures.created(capture), capture["pod_events"]
        if change:
            change(taskrun)
        flags = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "feature-flags"}}
        options = [
            *("-f", write("taskrun.json", json.dumps(taskrun))),
            *("--feature-flags", write("flags.json", json.dumps({**flags, "data": capture["flags"]}))),
        ]
        if events:
            options += ["-f", write("pod.json", json.dumps(events[pod]["object"]))]
        if log and "sidecar_log_base64" in capture:
            file = write("sidecar.log", base64.b64decode(capture["sidecar_log_base64"]))
            options += ["--log", f"{SIDECAR}={file}"]
        return options

    return save


def taskrun(name="hello", script="true", results="[]", **more):
    """A manifest of one TaskRun of one Step."""
    extra = "".join(f"\n  {key}: {value}" for key, value in more.items())
    body = textwrap.indent(textwrap.dedent(script), " " * 8)
    return (
        f"apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {{name: {name}}}\nspec:{extra}\n"
        f"  taskSpec:\n    results: {results}\n    steps:\n    - name: one\n      image: busybox:1\n"
        f"      script: |\n{body}\n"
    )


@pytest.fixture
def manifest():
    """Makes the manifest of one TaskRun of one Step."""
    return taskrun

"""A pod's folders without a pod, and the sidecar as a real process in them."""

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SIDECAR = Path(__file__).parents[2] / "sidecar"
DEADLINE = 20  # seconds after which a process hangs, as far as we are concerned


class Log:
    """What a sidecar printed, and how it ended."""

    def __init__(self, raw, status):
        self.raw = raw
        self.status = status
        assert raw == b"" or raw.endswith(b"\n")
        # Not splitlines: U+2028 is no end of a line.
        self.lines = raw.split(b"\n")[:-1]
        self.records = [json.loads(line) for line in self.lines]

    @property
    def results(self):
        """The records between start and end, after checking both as a stranger would read them."""
        start, *results, end = self.records
        assert (start["type"], start["wire"]) in (("start", 1), ("start", 2))
        before = self.raw[: self.raw.rindex(b"\n", 0, -1) + 1]
        assert (end["type"], end["wire"], end["pod"]) == ("end", start["wire"], start["pod"])
        assert end["count"] == len(self.records) - 1
        assert end["sha256"] == hashlib.sha256(before).hexdigest()
        for record in results:
            if "value" in record:
                assert list(record) == ["name", "value", "type", "sha256"]
                digested = "\0".join((record["type"], record["name"], record["value"]))
                assert record["sha256"] == hashlib.sha256(digested.encode()).hexdigest()
        return results

    @property
    def values(self):
        assert self.results is not None
        return {record["name"]: record["value"] for record in self.results if "value" in record}

    @property
    def why(self):
        return self.records[-1]["why"]


class Sidecar:
    """A running sidecar."""

    def __init__(self, process):
        self.process = process
        self.read = b""

    def line(self):
        """Waits for one more line."""
        end = time.monotonic() + DEADLINE
        at = len(self.read)
        while b"\n" not in self.read[at:]:
            assert self.speaks(end - time.monotonic()), "no line"
            piece = os.read(self.process.stdout.fileno(), 1 << 20)
            assert piece, "the log ended"
            self.read += piece
        return json.loads(self.read[at:].split(b"\n")[0])

    def until(self, kind):
        """Waits for a record of that type; for a process that stays."""
        while f'"type":"{kind}"'.encode() not in self.read:
            self.line()

    def speaks(self, seconds):
        """Whether something can be read, now or within the time."""
        return bool(select.select([self.process.stdout], [], [], max(seconds, 0))[0])

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def log(self):
        """Waits for the end."""
        out, err = self.process.communicate(timeout=DEADLINE)
        assert err == b"", "stderr goes into the same container log"
        return Log(self.read + out, self.process.returncode)

    def status(self, key):
        """A size in kB from /proc/PID/status."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split(f"{key}:")[1].split()[0])

    def cpu(self):
        """Seconds on a processor so far."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1e9


class Pod:
    """Folders as Tekton lays them out, below a folder of the test's."""

    def __init__(self, root, command, variables, steps):
        self.root = root
        self.results = root / "results"
        self.command = command
        self.variables = variables
        self.processes = []
        self.results.mkdir(parents=True)
        (root / "steps").mkdir()
        self.run = root / "run"
        self.run.mkdir()
        for number in range(steps):
            (self.run / str(number)).mkdir()

    def write(self, name, value):
        (self.results / name).write_bytes(value)

    def step_folder(self, step, number):
        """Makes `steps/step-x`, a link to `run/N/status` as Tekton's is, and its results folder."""
        folder = self.run / str(number) / "status" / "results"
        folder.mkdir(parents=True)
        (self.root / "steps" / step).symlink_to(folder.parent)
        return folder

    def end(self, number, *, failed=False):
        (self.run / str(number) / ("out.err" if failed else "out")).touch()

    def end_all(self):
        for folder in self.run.iterdir():
            (folder / "out").touch()

    def start(self, *names, flags=(), prefix=(), variables=None, **popen):
        """Starts the sidecar as Tekton does."""
        command = [*prefix, *self.command, "-results-dir", str(self.results)]
        command += ["-result-names", ",".join(names), "-step-names", "", *flags]
        process = subprocess.Popen(
            command,
            env={**self.variables, **(variables or {})},
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen},
        )
        self.processes.append(process)
        return Sidecar(process)

    def print(self, *names, **options):
        """Ends all Steps and gives the whole log."""
        self.end_all()
        return self.start(*names, **options).log()

    def close(self):
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory):
    target = tmp_path_factory.mktemp("zipapp") / "resultsfw-sidecar.pyz"
    subprocess.run([sys.executable, SIDECAR / "build_zipapp.py", target], check=True)
    return target


@pytest.fixture(params=["module-inotify", "module-poll", "zipapp-inotify"])
def variant(request):
    """How the sidecar is started, and how it watches."""
    return request.param.split("-")


@pytest.fixture
def make_pod(variant, tmp_path, request):
    """Makes pods; gives the function for it."""
    form, watch = variant
    variables = {
        "RESULTSFW_WIRE": "1",
        "RESULTSFW_TEKTON_ROOT": str(tmp_path / "tekton"),
        "RESULTSFW_TERMINATION_LOG": str(tmp_path / "termination-log"),
        "SIDECAR_LOG_POLLING_INTERVAL": "5ms",
        "PYTHONWARNINGS": "error",
        "PATH": os.environ["PATH"],
    }
    if watch == "poll":
        variables["RESULTSFW_WATCH"] = "poll"
    if form == "module":
        command = [sys.executable, "-m", "resultsfw_sidecar"]
        variables["PYTHONPATH"] = str(SIDECAR)
    else:
        command = [sys.executable, "-IS", str(request.getfixturevalue("zipapp"))]
    pods = []

    def make(steps=1):
        pods.append(Pod(tmp_path / "tekton", command, variables, steps))
        return pods[-1]

    yield make
    for pod in pods:
        pod.close()


@pytest.fixture
def pod(make_pod):
    """A pod of one Step."""
    return make_pod()

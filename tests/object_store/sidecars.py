"""The sidecar with an object store as its transport: in this process, or as one of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import resultsfw_sidecar
from resultsfw_sidecar import wire
from resultsfw_sidecar.program import run
from resultsfw_transports import store as stores
from resultsfw_transports import stored

UID = "51b37f1b-97b7-4b83-81a0-acdc337a94c2"
FOLDER = "default/run-uid"
MAIN = """
import sys
from resultsfw_sidecar.__main__ import main
status = main()
print(*[line for line in open("/proc/self/status") if line.startswith("VmHWM")], file=sys.stderr)
sys.exit(status)
"""


class Waits:
    """Stands for `Stop`: nobody stops it."""

    requested = False

    def wait(self, *_args):
        raise AssertionError("all Steps have ended")


class Pod:
    """What the sidecar sees of a pod whose Steps have ended."""

    def __init__(self, root, place, *, inline=16, limit=10**9, arrays=()):
        self.root, self.place = root, place
        self.results = root / "results"
        for folder in (self.results, root / "run/0"):
            folder.mkdir(parents=True)
        (root / "run/0/out").touch()
        self.message = root / "message"
        self.message.touch()
        self.variables = {
            wire.ENV_WIRE: "1",
            wire.ENV_POD_UID: UID,
            wire.ENV_MAX_RESULT_SIZE: str(limit),
            wire.ENV_TEKTON_ROOT: str(root),
            wire.ENV_TERMINATION_LOG: str(self.message),
            wire.ENV_TRANSPORT: "resultsfw_transports.object_store",
            stores.ENV_URL: place.url,
            stores.ENV_OPTIONS: json.dumps(place.options),
            stores.ENV_FOLDER: FOLDER,
            stored.ENV_INLINE: str(inline),
            stored.ENV_JSON: json.dumps(list(arrays)),
        }

    def arguments(self):
        names = ",".join(sorted(result.name for result in self.results.iterdir()))
        return ["-results-dir", str(self.results), "-result-names", names]

    def run(self, capfdbinary):
        """In this process; its records."""
        variables = {os.fsencode(key): os.fsencode(value) for key, value in self.variables.items()}
        capfdbinary.readouterr()
        run([os.fsencode(argument) for argument in self.arguments()], variables, Waits())
        return self.records(capfdbinary.readouterr().out)

    def process(self):
        """As a process: its records, and the most memory it had, in bytes."""
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *self.arguments()],
            env={
                **self.variables,
                **self.place.env,
                "PYTHONPATH": str(Path(resultsfw_sidecar.__file__).parents[1]),
            },
            capture_output=True,
            timeout=60,
            check=True,
        )
        return self.records(done.stdout), int(done.stderr.split()[1]) * 1024

    @staticmethod
    def records(out):
        """Between start and end, by name."""
        first, *between, last = [json.loads(line) for line in out.splitlines()]
        assert (first["type"], last["type"]) == ("start", "end")
        return {record["name"]: record for record in between}

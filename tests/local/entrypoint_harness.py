"""Runs the local engine's entrypoint with a temporary folder in place of /tekton."""

import json
import os
import subprocess
import sys

from resultsfw.local.process_spec import ENTRYPOINT


class EntrypointHarness:
    """The entrypoint, with a temporary folder in place of /tekton."""

    def __init__(self, folder):
        self.tekton = folder / "tekton"
        self.message = folder / "message"
        for name in ("run/0", "run/1", "results", "scripts", "steps"):
            (self.tekton / name).mkdir(parents=True)

    def start(self, *flags, command=(), env=None, step=0, **more):
        arguments = [
            "-post_file",
            f"{self.tekton}/run/{step}/out",
            "-termination_path",
            str(self.message),
            "-step_metadata_dir",
            f"{self.tekton}/run/{step}/status",
            *flags,
        ]
        if command:
            arguments += ["-entrypoint", command[0], "--", *command[1:]]
        return self.launch(*arguments, env=env, **more)

    def launch(self, *arguments, env=None, **more):
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(ENTRYPOINT), *arguments],
            env={"PATH": os.environ["PATH"], "RESULTSFW_TEKTON_ROOT": str(self.tekton), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            **more,
        )

    def run(self, *flags, **more):
        """Run the entrypoint and return its exit status and output."""
        process = self.start(*flags, **more)
        output, _ = process.communicate(timeout=20)
        return process.returncode, output

    def sh(self, script, *flags, **more):
        return self.run(*flags, command=("sh", "-c", script), **more)

    def entries(self):
        return [
            (entry["key"], entry["value"], entry.get("type"))
            for entry in json.loads(self.message.read_text())
        ]

    def keys(self):
        return {key: value for key, value, _ in self.entries()}

    def refused(self):
        return json.loads(self.keys()["ResultsRefused"])

    def write(self, name, data):
        path = self.tekton / "results" / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def names(self, step=0):
        return sorted(file.name for file in (self.tekton / f"run/{step}").iterdir())


def finish(process):
    output, _ = process.communicate(timeout=20)
    return process.returncode, output

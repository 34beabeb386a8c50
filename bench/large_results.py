"""Measures backends by reference: `bench/large_results.py [MEGABYTES...]`, else 1, 20 and 200.

Whole runs on the local engine: `object-store` through a folder and a real S3 server, `pvc` through a claim
that the reader mounts, and `oci`, if there is a program docker-registry, through a registry. Seconds
from the last byte that the Step wrote to the reference in the status, seconds that `resultsfw value` takes to
write the value to a file, and the peak memory (VmHWM) of the sidecar and of that command.
"""

# ruff: noqa: INP001, S101, T201

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / "object_store"), str(ROOT / "tests" / "oci")]

from registryserver import PROGRAM, RealRegistry  # noqa: E402 - found by the path above
from s3server import S3Server  # noqa: E402 - found by the path above

from measuring import large, records  # noqa: E402 - beside this file
from resultsfw import ResultsManager, read_reference  # noqa: E402 - see above
from resultsfw.local.engine import Engine  # noqa: E402 - see above
from resultsfw.tekton.taskrun.reconciler import Reconciler  # noqa: E402 - see above

VALUE = """
import sys
from resultsfw.cli import main
status = main(sys.argv[1:])
print(*[line for line in open("/proc/self/status") if line.startswith("VmHWM")], file=sys.stderr)
sys.exit(status)
"""


class Peak:
    """Polls the peak memory of the sidecar that writes to a store, while it runs."""

    def __init__(self, place: str) -> None:
        self.megabytes = 0.0
        self._mark = f"={place}\0".encode()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        process: Path | None = None
        while not self._over.wait(0.005):
            process = process or self._find()
            if process is not None:
                self._read(process)

    def _find(self) -> Path | None:
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark in (process / "environ").read_bytes():
                    return process
            except OSError:
                continue
        return None

    def _read(self, process: Path) -> None:
        try:
            lines = (process / "status").read_text().splitlines()
        except OSError:
            return
        for line in lines:
            if line.startswith("VmHWM"):
                self.megabytes = max(self.megabytes, int(line.split()[1]) / 1024)


@contextmanager
def stores(folder: Path) -> Iterator[dict[str, tuple[str, str, dict[str, Any]]]]:
    """Yield backend, a variable of its sidecar, and its options, for each store."""
    server = S3Server(folder / "s3")
    registry = RealRegistry(folder / "registry") if PROGRAM else None
    try:
        os.environ.update(server.env)
        server.wait()
        s3 = {"url": "s3://results/bench", "options": server.options, "secret": "store"}
        local = {"url": f"file://{folder}/store"}
        found = {
            name: ("object-store", config["url"], config) for name, config in (("folder", local), ("S3", s3))
        }
        mounted = {"folder": f"{folder}/claims/default/results"}
        found["claim"] = "pvc", "resultsfw_transports.claim", mounted
        if registry is not None:
            config = {"repository": f"{registry.host}/results", "plain-http": True}
            found["registry"] = "oci", registry.host, config
        yield found
    finally:
        server.stop()
        if registry is not None:
            registry.close()


def taskrun(size: int) -> dict[str, Any]:
    """Return a run whose Step writes text of this size, and then prints the time."""
    script = f"#!/bin/sh\nbase64 -w0 /dev/urandom | head -c {size} > $(results.value.path)\ndate +%s.%N >&2\n"
    results = [{"name": "value", "type": "string"}]
    steps = [{"name": "one", "image": "busybox:1", "script": script}]
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "run", "namespace": "default"},
        "spec": {"taskSpec": {"results": results, "steps": steps}},
    }


def measure(name: str, store: tuple[str, str, dict[str, Any]], size: int, folder: Path) -> dict[str, Any]:
    """Measure one run and return its figures."""
    backend, place, config = store
    flags = {"results-from": backend, f"config.{backend}": json.dumps(config)}
    core = ResultsManager.from_flags(flags)
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    data = {variable: base64.b64encode(os.environ[variable].encode()).decode() for variable in names}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store", "namespace": "default"}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"accessModes": ["ReadWriteMany"]}}
    claims = folder / "claims"
    with Engine(lambda cluster: Reconciler(core, cluster), claims=claims) as engine, Peak(place) as peak:
        engine.submit({**claim, "metadata": {"name": "results", "namespace": "default"}})
        engine.submit({**secret, "data": data})
        engine.submit(taskrun(size))
        [run] = engine.run_until_done()
        done = time.time()
        log = engine.store.log_path("default", run["status"]["podName"], "step-one").read_text()
    [result] = run["status"]["results"]
    reference = read_reference(result["value"])
    assert reference is not None, result
    assert reference.size == size
    (folder / "run.json").write_text(json.dumps(run))
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "feature-flags"}, "data": flags}
    (folder / "flags.json").write_text(json.dumps(manifest))
    command = [sys.executable, "-c", VALUE, "value", "-f", str(folder / "run.json"), "value"]
    command += ["-o", str(folder / "out"), "--feature-flags", str(folder / "flags.json")]
    began = time.perf_counter()
    ran = subprocess.run(command, check=True, stderr=subprocess.PIPE, text=True)
    took = time.perf_counter() - began
    hwm = int(ran.stderr.split()[-2]) / 1024
    figures = {"status_s": done - float(log.split()[-1]), "sidecar_mb": peak.megabytes}
    figures |= {"file_s": took, "reader_mb": hwm}
    rounded = {key: round(value, 3) for key, value in figures.items()}
    return {"backend": backend, "store": name, "bytes": size, **rounded}


def main() -> None:
    """Measure, print the table, and write the record."""
    parser = argparse.ArgumentParser(description="Measures the backends by reference.")
    parser.add_argument("megabytes", type=int, nargs="*", default=[1, 20, 200])
    parser.add_argument("--json", type=Path, help="file for the record; it must not exist")
    options = parser.parse_args()
    record = records.open_record(options.json, large.PLACE, "now", resume=False)
    record.versions = records.versions(sys.executable)
    with tempfile.TemporaryDirectory() as name, stores(Path(name)) as found:
        for name_of_store, store in found.items():
            for megabytes in options.megabytes:
                record.rounds.append(measure(name_of_store, store, megabytes * 1_000_000, Path(name)))
                print(record.rounds[-1], flush=True)
    record.when = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    if options.json is not None:
        record.write(options.json)


if __name__ == "__main__":
    main()

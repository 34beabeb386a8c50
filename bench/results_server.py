"""Measures the results server with each of its stores: `bench/results_server.py [--rounds N] [--requests N]`.

For a folder, SQLite and, where it is installed, PostgreSQL: eight clients deliver, read and remove, each on a
connection of its own, in four namespaces. The stores take turns. Printed are the medians of the rounds:
requests a second, the 95th percentile in milliseconds, and milliseconds of the processor for a request, the
database's included.
"""

# ruff: noqa: INP001, T201

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from postgresql_harness import PostgreSQL, find_programs  # noqa: E402 - found by the path above

from resultsfw.local import tokens  # noqa: E402 - see above

CLIENTS = 8
NAMESPACES = 4
SIZES = (10_000, 1_500_000)
AUDIENCE = "resultsfw-results"
TICKS = 100


@dataclass
class Server:
    """A results server, and the processes of which its work takes time."""

    port: int
    reader: str
    processes: Callable[[], list[int]]
    process: int

    def cpu(self) -> float:
        """Return the seconds of the processor that all of them took, and their children that have ended."""
        total = 0
        for process in self.processes():
            with suppress(FileNotFoundError, ProcessLookupError):  # ended: among its parent's now
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))
        return total / TICKS

    def peak(self) -> float:
        """Return the peak memory of the results server in megabytes."""
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


@dataclass
class Figures:
    """What one store took for one kind of request, by round."""

    rates: list[float] = field(default_factory=list)
    p95: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def children(parent: int) -> list[int]:
    """Return a process and its children."""
    found = [parent]
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(file.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(file.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@contextmanager
def serve(options: list[str], database: Callable[[], list[int]]) -> Iterator[Server]:
    """Run a results server without TLS."""
    command = [sys.executable, "-m", "resultsfw.cli", "results-server", "--local", "--listen", "127.0.0.1:0"]
    command += ["--namespace-bytes", "0", "--log-level", "error", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        said: list[str] = []
        assert process.stdout is not None  # noqa: S101 - a pipe
        while not said or not said[-1].startswith("    '"):
            said.append(process.stdout.readline())
        config = yaml.safe_load(yaml.safe_load("".join(said))["data"]["config.http"])
        reader = Path(config["token-file"]).read_text()
        port = urlsplit(config["url"]).port or 0
        try:
            yield Server(port, reader, lambda: [process.pid, *database()], process.pid)
        finally:
            process.terminate()


def call_all(server: Server, requests: list[tuple[str, str, str, bytes]]) -> tuple[float, list[float]]:
    """Send requests (verb, path, token, body) from all clients; return the seconds, and those of each."""

    def work(number: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        took = []
        for verb, path, token, body in requests[number::CLIENTS]:
            start = time.perf_counter()
            connection.request(verb, path, body or None, {"Authorization": f"Bearer {token}"})
            answer = connection.getresponse()
            answer.read()
            took.append(time.perf_counter() - start)
            if answer.status not in (200, 201, 204):
                raise SystemExit(f"{verb} {path}: HTTP {answer.status}")
        connection.close()
        return took

    start = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as threads:
        took = [seconds for each in threads.map(work, range(CLIENTS)) for seconds in each]
    return time.perf_counter() - start, took


def requests_of(count: int, size: int, reader: str) -> dict[str, list[tuple[str, str, str, bytes]]]:
    """Return the requests that deliver, read and remove so many results."""
    body = b"x" * size
    made: dict[str, list[tuple[str, str, str, bytes]]] = {"PUT": [], "GET": [], "DELETE": []}
    for number in range(count):
        namespace, pod = f"bench-{number % NAMESPACES}", f"pod-{number}"
        run = f"/v1/namespaces/{namespace}/runs/run-{number}/attempts/0"
        token = tokens.make(
            tokens.Token(
                namespace=namespace, service_account="default", pod="p", pod_uid=pod, audience=AUDIENCE
            )
        )
        made["PUT"].append(("PUT", f"{run}/pods/{pod}", token, body))
        made["GET"].append(("GET", f"{run}/pods/{pod}", reader, b""))
        made["DELETE"].append(("DELETE", run, reader, b""))
    return made


def main() -> None:
    """Measure, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400)
    options = parser.parse_args()
    figures: dict[tuple[int, str, str], Figures] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kinds = {"folder": (["--store", f"file://{folder}/store"], list[int])}
        kinds["SQLite"] = (["--store", f"sqlite://{folder}/results.sqlite"], list[int])
        if (programs := find_programs()) is not None:
            database = PostgreSQL(programs, durable=True)
            stack.callback(database.close)
            url = ["--store", database.new_schema()[1], "--store-password-file", str(database.password_file)]
            kinds["PostgreSQL"] = (url, lambda: children(database.postmaster))
        servers = {name: stack.enter_context(serve(*arguments)) for name, arguments in kinds.items()}
        for size in SIZES:
            count = options.requests if size < 100_000 else options.requests // 8  # noqa: PLR2004
            for _ in range(options.rounds):
                for name, server in servers.items():
                    for verb, requests in requests_of(count, size, server.reader).items():
                        before = server.cpu()
                        seconds, took = call_all(server, requests)
                        found = figures.setdefault((size, verb, name), Figures())
                        found.rates.append(count / seconds)
                        found.p95.append(statistics.quantiles(took, n=20)[-1] * 1000)
                        found.cpu.append((server.cpu() - before) / count * 1000)
        peaks = {name: round(server.peak()) for name, server in servers.items()}
    print("| bytes | request | store | a second | p95, ms | CPU, ms |\n|--:|---|---|--:|--:|--:|")
    for (size, verb, name), found in figures.items():
        medians = [statistics.median(values) for values in (found.rates, found.p95, found.cpu)]
        print(f"| {size} | {verb} | {name} | " + " | ".join(f"{value:.1f}" for value in medians) + " |")
    print(json.dumps({"peak_megabytes": peaks}))


if __name__ == "__main__":
    main()

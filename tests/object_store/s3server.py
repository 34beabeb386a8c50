"""A real S3 server as a process: SeaweedFS, from the package index."""

import ctypes
import json
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from resultsfw_transports.store import Store, StoreError

KEY, SECRET = "AKIAPLANTED0000000", "planted+secret/0123456789"
WEED = Path(sys.executable).with_name("weed")
SERVICES = ("master", "volume", "filer", "s3")
_LIBC = ctypes.CDLL(None)
STARTS = 5  # a port that was free a moment ago may not be


class S3Server:
    """Listens on ports of this machine until it is stopped; one key may do all."""

    def __init__(self, folder: Path, listen: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        identity = {
            "name": "all",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "Write", "List"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
        self._folder, self._listen = folder, listen
        self._ports: list[int] = []
        self._starts = 0
        self._process = self._start()

    @property
    def port(self) -> int:
        return self._ports[::2][SERVICES.index("s3")]

    @property
    def options(self) -> dict[str, str]:
        return {"endpoint": f"http://127.0.0.1:{self.port}", "region": "us-east-1"}

    @property
    def env(self) -> dict[str, str]:
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}

    def wait(self) -> None:
        """Until it stores something; its variables must be set. Only then it has its ports."""
        for _ in range(600):
            if self._process.poll() is not None:
                said = (self._folder / f"log-{self._starts}").read_text()
                assert self._starts < STARTS, said[-2000:]
                self._process = self._start()
            try:
                Store("s3://results/ready", self.options, patience=1).put("x", b"x")
            except StoreError:
                threading.Event().wait(0.1)
            else:
                return
        raise AssertionError("the S3 server stores nothing")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for port in self._ports:  # its own, which it leaves behind
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink()

    def _start(self) -> subprocess.Popen[bytes]:
        self._starts += 1
        data = self._folder / f"data-{self._starts}"
        data.mkdir()
        self._ports = _free_ports(2 * len(SERVICES))
        command = [str(WEED), "server", f"-dir={data}", "-ip=127.0.0.1", f"-ip.bind={self._listen}", "-s3"]
        command += [f"-s3.config={self._folder / 's3.json'}", "-s3.iam=false"]
        command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]  # services of fixed ports
        command += ["-master.telemetry=false", "-master.volumePreallocate=false"]
        for service, port, grpc in zip(SERVICES, self._ports[::2], self._ports[1::2], strict=True):
            command += [f"-{service}.port={port}", f"-{service}.port.grpc={grpc}"]
        with (self._folder / f"log-{self._starts}").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=_end_with_us)  # noqa: PLW1509 - see there


def _end_with_us() -> None:
    """Tests that are killed stop nothing; this does no more than a call to the kernel."""
    _LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports

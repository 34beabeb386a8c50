"""A results server for the local engine, as a process: what it prints, and its end."""

import contextlib
import subprocess
import sys
import tempfile

import yaml


@contextlib.contextmanager
def local_server(store, *options):
    """The flags that it prints, as data of a ConfigMap; nothing secret may be in what it logged.

    The store is a folder; None for the SQLite file that is the default, in XDG_STATE_HOME.
    """
    command = [sys.executable, "-W", "error", "-m", "resultsfw.cli", "results-server", "--local"]
    command += [
        "--listen",
        "127.0.0.1:0",
        *([] if store is None else ["--store", f"file://{store}"]),
        *options,
    ]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        with server:
            said = []
            # It listens when it prints this; the manifest's last line closes a text in quotes.
            while line := server.stdout.readline():
                said.append(line)
                if line.startswith("    '"):
                    break
            try:
                yield yaml.safe_load("".join(said))["data"]
            finally:
                server.terminate()
        log.seek(0)
        logged = log.read()
    assert "SECRET" not in logged
    assert "Traceback" not in logged, logged[logged.index("Traceback") - 300 :][:6000]
    assert server.returncode == 0

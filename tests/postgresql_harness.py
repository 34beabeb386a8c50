"""A real PostgreSQL server: of this machine, in a folder of its own, on a Unix socket and no port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

PASSWORD = "SECRET-PASSWORD"  # noqa: S105 - of this server only
USER = "resultsfw"
UNPRIVILEGED = ("postgres", "nobody")
"""As whom the server runs if the tests run as root, which it refuses."""


def find_programs():
    """The folder of PostgreSQL's server programs; None where it is not installed."""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    config = shutil.which("pg_config")
    if config:
        folders.append(
            subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False).stdout.strip()
        )
    folders += sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    for folder in folders:
        programs = [Path(folder, name).resolve() for name in ("initdb", "postgres", "pg_ctl")]
        if all(os.access(program, os.X_OK) for program in programs):
            return programs[0].parent
    return None


def find_user():
    """The user for the server; None for the one that runs the tests."""
    if os.geteuid():
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next((known[name] for name in UNPRIVILEGED if name in known), None)


class PostgreSQL:
    """A server with one user, whose password it demands; it syncs to disk if it is to be durable."""

    def __init__(self, programs, *, durable=False):
        self.programs = programs
        self.durable = durable
        self.user = find_user()
        self.folder = Path(tempfile.mkdtemp(prefix="resultsfw-pg-"))
        self.data = self.folder / "data"
        self.password_file = self.folder / "password"
        self.password_file.write_text(PASSWORD)
        if self.user:
            for path in (self.folder, self.password_file):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        options = [
            "--auth=scram-sha-256",
            f"--username={USER}",
            f"--pwfile={self.password_file}",
            "--no-sync",
        ]
        self._call("initdb", "-D", self.data, *options, "--locale=C", "--encoding=UTF8")
        self.start()
        self.made = 0

    def _call(self, program, *args):
        identity = (
            {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []} if self.user else {}
        )
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        done = subprocess.run(
            [self.programs / program, *args],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=self.folder,
            timeout=120,
            check=False,
            **identity,
        )
        assert done.returncode == 0, done.stderr

    def start(self):
        settings = f"-k {self.folder} -c listen_addresses='' -c max_connections=60"
        if not self.durable:
            settings += " -c fsync=off -c autovacuum=off -c shared_buffers=16MB"
        self._call("pg_ctl", "start", "-w", "-s", "-D", self.data, "-l", self.folder / "log", "-o", settings)

    def stop(self):
        self._call("pg_ctl", "stop", "-w", "-s", "-D", self.data, "-m", "immediate")

    def close(self):
        self.stop()
        shutil.rmtree(self.folder)

    def connect(self, schema="public"):
        return psycopg.connect(
            host=str(self.folder),
            user=USER,
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
            options=f"-csearch_path={schema}",
        )

    def new_schema(self):
        """A new schema, which takes less time than a database, and the URL of a store in it."""
        self.made += 1
        name = f"results{self.made}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        options = f"options=-csearch_path%3D{name}&application_name={name}"
        return name, f"postgresql://{USER}@/postgres?host={self.folder}&{options}"

    def backends(self, name):
        """The processes that serve the connections of a store."""
        with self.connect() as connection:
            sql = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
            return [pid for (pid,) in connection.execute(sql, (name,))]

    @property
    def postmaster(self):
        """The process that accepts connections."""
        return int((self.data / "postmaster.pid").read_text().split()[0])

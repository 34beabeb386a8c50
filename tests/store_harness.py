"""A store of each kind, and what a test does to it behind its back: damage, age, and what is left."""

import os
import sqlite3
import time
from pathlib import Path

from resultsfw.server.stores import open_store


class Folder:
    """A store that is a folder."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.url = f"file://{folder}"

    def open(self, **more):
        return open_store(self.url, **more)

    def damage(self, attempt_key, pod, change):
        file = self.folder / attempt_key.prefix / pod
        file.write_bytes(change(file.read_bytes()))

    def make_older(self, seconds, *pods):
        stale = time.time() - seconds
        for file in [path for path in self.folder.rglob("*") if path.name in pods]:
            os.utime(file, (stale, stale))

    def left(self):
        return {path.name for path in self.folder.rglob("*") if path.is_file()}


class _Database:
    """A store that is a database."""

    def damage(self, _attempt_key, pod, change):
        [(body,)] = self.sql("SELECT body FROM resultsfw_deliveries WHERE pod = ?", pod)
        self.sql("UPDATE resultsfw_deliveries SET body = ? WHERE pod = ?", change(bytes(body)), pod)

    def make_older(self, seconds, *pods):
        for pod in pods:
            self.sql("UPDATE resultsfw_deliveries SET delivered = delivered - ? WHERE pod = ?", seconds, pod)

    def left(self):
        return {pod for (pod,) in self.sql("SELECT pod FROM resultsfw_deliveries")}


class SQLite(_Database):
    def __init__(self, folder):
        self.file = Path(folder) / "results.sqlite"
        self.url = f"sqlite://{self.file}"

    def open(self, **more):
        return open_store(self.url, **more)

    def sql(self, statement, *values):
        connection = sqlite3.connect(self.file, timeout=10)
        try:
            with connection:
                return connection.execute(statement, values).fetchall()
        finally:
            connection.close()


class PostgreSQL(_Database):
    """Tables of its own, in a server that tests share."""

    def __init__(self, server):
        self.server = server
        self.name, self.url = server.new_schema()

    def open(self, **more):
        return open_store(self.url, password_file=str(self.server.password_file), **more)

    def sql(self, statement, *values):
        with self.server.connect(self.name) as connection:
            cursor = connection.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else []
